"""How alike two texts are: by the libraries that define it, in any script, and the same texts are the same."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu

from lvm_lab.text.similarity import likeness

TEXTS = ["The cat sat on the mat.", "", "Der Zug fährt nach Zürich", "猫が座った", "a  b", "Nothing of it"]
REFERENCES = ["The cat sat on a mat.", "Something", "Der Zug fuhr nach Zürich", "猫が座った", "a b", "Ωδή"]


def test_each_measure_is_what_its_definition_says() -> None:
    by_pair = likeness(TEXTS, REFERENCES).by_pair
    assert by_pair["exact"].tolist() == [0, 0, 0, 1, 1, 0]
    # the cat sat on mat, of these and a; the words of a sentence of five, but one.
    assert by_pair["overlap"] == pytest.approx([5 / 6, 0, 4 / 6, 1, 1, 0])
    assert by_pair["rouge_l"] == pytest.approx([5 / 6, 0, 4 / 5, 1, 1, 0])
    for name in ("bleu", "chrf"):
        assert by_pair[name][[3, 4]] == pytest.approx(100)
        assert by_pair[name][1] == by_pair[name][5] == 0
        assert 0 < by_pair[name][0] < 100


def test_bleu_and_chrf_are_sacrebleus() -> None:
    alike = likeness(TEXTS, REFERENCES)
    pairs = list(zip(TEXTS, REFERENCES, strict=True))
    bleu = [sacrebleu.sentence_bleu(text, [reference]).score for text, reference in pairs]
    assert alike.by_pair["bleu"] == pytest.approx(np.array(bleu))
    assert alike.by_pair["chrf"] == pytest.approx([sacrebleu.sentence_chrf(t, [r]).score for t, r in pairs])
    assert alike.corpus["bleu"] == pytest.approx(sacrebleu.corpus_bleu(TEXTS, [REFERENCES]).score)
    assert alike.corpus["chrf"] == pytest.approx(sacrebleu.corpus_chrf(TEXTS, [REFERENCES]).score)
    assert alike.signatures["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")


@pytest.mark.slow
def test_rouge_l_is_that_of_torchmetrics_on_english() -> None:
    from torchmetrics.functional.text.rouge import rouge_score

    draws = np.random.default_rng(0)
    words = ["the", "cat", "Sat", "on", "a", "mat", "42", "dogs,", "ran."]
    texts, references = ([" ".join(draws.choice(words, 12)) for _ in range(20)] for _ in range(2))
    theirs = [
        float(rouge_score(text, reference, rouge_keys="rougeL")["rougeL_fmeasure"])
        for text, reference in zip(texts, references, strict=True)
    ]
    assert likeness(texts, references).by_pair["rouge_l"] == pytest.approx(theirs, abs=1e-5)
