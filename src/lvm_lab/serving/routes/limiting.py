"""What a request may ask for, held against the limits."""

from __future__ import annotations

from collections.abc import Sequence

from lvm_lab.config.serving import Limits
from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.served import Served


def check_texts(limits: Limits, texts: Sequence[str]) -> None:
    if len(texts) > limits.texts:
        raise Refusal(422, f"{len(texts)} texts are too many at once; send {limits.texts} or fewer.")
    if (characters := sum(map(len, texts))) > limits.characters:
        raise Refusal(422, f"{characters} characters are too many at once; send {limits.characters} or fewer.")


def check_steps(limits: Limits, served: Served, steps: int, contexts: int = 1) -> None:
    if steps > limits.steps:
        raise Refusal(422, f"steps={steps} are more than this server makes; ask for {limits.steps} or fewer.")
    if contexts * steps > limits.predictions:
        raise Refusal(422, f"{contexts * steps} predictions are too many at once; ask for {limits.predictions}.")
    if steps > 1 and served.facts.reads_codes:
        raise Refusal(422, f"{served.facts.name} reads TMD codes, which no prediction has; ask for one step.")
