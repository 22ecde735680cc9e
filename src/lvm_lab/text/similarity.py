"""How alike two texts are, by the measures that the field has for it.

BLEU (Papineni et al. 2002) and chrF (Popović 2015) are sacrebleu's (Post 2018); ROUGE-L is Lin's (2004).

Shape suffixes: N pairs of texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvm_lab.text.installed import needed

# Runs of letters and digits of any script.
WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Likeness:
    """by_pair: each measure's N values: exact (0 or 1), overlap and rouge_l (0 to 1), bleu and chrf (0 to 100).

    corpus: bleu and chrf of all pairs together, as they are usually reported. signatures: sacrebleu's, by which others
    can have the same numbers.
    """

    by_pair: dict[str, np.ndarray]
    corpus: dict[str, float]
    signatures: dict[str, str]


def likeness(texts: Sequence[str], references: Sequence[str]) -> Likeness:
    """Each text beside its reference.

    exact: the same word for word, blanks apart. overlap: the different words of both over those of either (Jaccard).
    rouge_l: F1 of the longest common subsequence of words. bleu, chrf: of the pair as a sentence, BLEU by its effective
    order, since short texts have no four-grams. Raises UserError where sacrebleu is not installed.
    """
    sacrebleu = needed("sacrebleu")
    pairs = list(zip(texts, references, strict=True))
    by_sentence, chrf = sacrebleu.BLEU(effective_order=True), sacrebleu.CHRF()
    bleu = sacrebleu.BLEU()
    columns = {
        "exact": [float(text.split() == reference.split()) for text, reference in pairs],
        "overlap": [_overlap(text, reference) for text, reference in pairs],
        "rouge_l": [_rouge_l(text, reference) for text, reference in pairs],
        "bleu": [by_sentence.sentence_score(text, [reference]).score for text, reference in pairs],
        "chrf": [chrf.sentence_score(text, [reference]).score for text, reference in pairs],
    }
    whole = {name: metric.corpus_score(texts, [references]).score for name, metric in (("bleu", bleu), ("chrf", chrf))}
    signed = {"bleu": by_sentence, "chrf": chrf, "corpus_bleu": bleu}
    return Likeness(
        {name: np.array(values, dtype=np.float64) for name, values in columns.items()},
        whole,
        {name: str(metric.get_signature()) for name, metric in signed.items()},
    )


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _overlap(text: str, reference: str) -> float:
    mine, theirs = {*words(text)}, {*words(reference)}
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else float(text.split() == reference.split())


def _rouge_l(text: str, reference: str) -> float:
    mine, theirs = words(text), words(reference)
    common = needed("rapidfuzz.distance").LCSseq.similarity(mine, theirs)
    return 2 * common / (len(mine) + len(theirs)) if mine or theirs else float(text.split() == reference.split())
