"""How every data source is cut: the keys of `data` in conf/train.yaml, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from lvm_lab.errors import UserError

FOLDS = 5
# Vectors that a window of data.windows=documents reads at least, where nothing else is asked for.
FEWEST_READ = 5
# How many bits of a TMD code each field has, the most significant first; one bit is spare.
TMD_BITS = {"domains": 4, "tasks": 5, "modifiers": 6}


@dataclass(frozen=True)
class DataSettings:
    """What every data source is cut by; the keys of `data` in conf/train.yaml.

    train_windows: train on this many windows only, of whole documents (but for the last) in the order of their hashes,
        so that a smaller number is a part of every larger one.
    first: train on the documents of so many hashes only, in the same order; None: on all.
    gate: what a failed data gate does before training.
    windows: how training reads documents. sliding: windows of context_length vectors, each with its target. documents:
        segments of up to context_length + 1 chunks, supervised at every place that has read min_context of them.
    min_context: the fewest vectors that a window reads. None: context_length with sliding windows, else FEWEST_READ.
    tmd: how models are conditioned on the TMD codes of the chunks that they read: concat (16 more dims), film (a
        learned scale and shift), or not at all.
    judge_from: the first row of a document whose rank among the following chunks every run records, whatever it reads.
    """

    context_length: int = 5
    max_per_doc: int = 8
    fold: int | None = None
    skip_repeated: bool = True
    train_windows: int | None = None
    gate: Literal["warn", "refuse"] = "warn"
    windows: Literal["sliding", "documents"] = "sliding"
    min_context: int | None = None
    judge_from: int = 16
    tmd: Literal["concat", "film"] | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        if self.context_length < 1:
            raise UserError(f"data.context_length={self.context_length} is no context; set 1 or more.")
        if self.max_per_doc < 1:
            raise UserError(f"data.max_per_doc={self.max_per_doc} leaves nothing to train on; set 1 or more.")
        if self.train_windows is not None and self.train_windows < 1:
            raise UserError(
                f"data.train_windows={self.train_windows} leaves nothing to train on; set 1 or more, or null."
            )
        if self.first is not None and self.first < 1:
            raise UserError(f"data.first={self.first} leaves nothing to train on; set 1 or more documents, or null.")
        if self.first is not None and self.train_windows is not None:
            raise UserError(
                f"data.first={self.first} and data.train_windows={self.train_windows} both say how much is trained on; "
                "leave one of them out."
            )
        if self.fold is not None and not 0 <= self.fold < FOLDS:
            raise UserError(f"data.fold={self.fold} does not exist; choose 0 to {FOLDS - 1}, or null for 70/15/15.")
        if self.min_context is not None and not 1 <= self.min_context <= self.context_length:
            raise UserError(
                f"data.min_context={self.min_context} does not fit data.context_length={self.context_length}; set 1 to "
                f"{self.context_length}, or null."
            )
        if self.judge_from < 1:
            raise UserError(f"data.judge_from={self.judge_from} leaves nothing to be read before it; set 1 or more.")

    def check_supervision(self, supervision: str) -> None:
        """UserError where trainer.supervision asks for what segments have by themselves."""
        if self.windows == "documents" and supervision == "all":
            raise UserError(
                "data.windows=documents supervises every place from data.min_context on by itself; leave "
                "trainer.supervision=last."
            )

    @classmethod
    def of_windows(cls, node: Mapping[str, Any]) -> Self:
        """What a config's data node says of how windows are read; older ones lack a part of it."""
        return cls(**{key: node[key] for key in ("context_length", "windows", "min_context") if key in node})

    @property
    def shortest(self) -> int:
        """The fewest vectors that a window reads."""
        if self.min_context is not None:
            return self.min_context
        return self.context_length if self.windows == "sliding" else min(FEWEST_READ, self.context_length)

    @property
    def lengths(self) -> range:
        """The lengths of contexts that a model of these settings reads: any up to context_length where its training
        had shorter ones, else that alone."""
        return range(1 if self.shortest < self.context_length else self.context_length, self.context_length + 1)

    @property
    def length_words(self) -> str:
        """`lengths` as a message says them."""
        return str(self.context_length) if len(self.lengths) == 1 else f"1 to {self.context_length}"
