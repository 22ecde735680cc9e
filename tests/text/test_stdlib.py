"""reader=stdlib gives prose, and enough of it to train on, without importing a module."""

from __future__ import annotations

import gc
import re
import subprocess
import sys

import pytest

from lvm_lab.text.documentation import prose
from lvm_lab.text.readers.stdlib import Stdlib

SIGNATURES = """
Find the best match among *words*, see :func:`difflib.ndiff` and the
``cutoff``; hand-
made lines go on [1]_.

get_close_matches(word, possibilities, n=3, cutoff=0.6)

   The signature above is no prose but this is, because it is a sentence.

>>> get_close_matches("appel", ["ape", "apple"])
['apple', 'ape']

    for line in lines:
        print(line.strip(), end="")

+------+-------+
| name | value |
+------+-------+

expr ::= "(" expr ")"

- the first item of the list has words enough;
- the second one is of the same kind
  and goes on in the next line.

Changed in version 3.1: Something else was done here before this version.
"""


def test_prose_is_what_reads_as_sentences() -> None:
    assert prose(SIGNATURES) == [
        "Find the best match among words, see difflib.ndiff and the cutoff; hand-made lines go on.",
        "The signature above is no prose but this is, because it is a sentence.",
        "the second one is of the same kind and goes on in the next line.",
    ]


@pytest.mark.slow
def test_there_is_enough_to_train_on_and_it_is_prose() -> None:
    reader = Stdlib()
    documents = list(reader.documents())
    assert documents == list(Stdlib().documents())
    assert gc.isenabled()
    # Some systems' Python comes without IDLE and Tk.
    assert len(documents) >= 200
    assert all(len(document.paragraphs) >= 8 for document in documents)
    paragraphs = [paragraph for document in documents for paragraph in document.paragraphs]
    assert len(paragraphs) >= 6_000
    # Some code stands within sentences; whole blocks of it do not come through.
    assert not [p for p in paragraphs if re.search(r">>>|::=|^def |^class \w+\(|\+---|====", p)]
    letters = sum(character.isalpha() or character.isspace() for p in paragraphs for character in p)
    assert letters >= 0.93 * sum(map(len, paragraphs))
    topics = [set(document.paragraphs) for document in documents if document.id.startswith("topic/")]
    assert len(topics) >= 20
    assert not [(a, b) for a in topics for b in topics if a is not b and len(a & b) > 2]
    assert reader.skipped()["with too little prose"] > 100
    assert reader.origins()[0].licence == "PSF-2.0"


@pytest.mark.slow
def test_two_processes_read_the_same_and_import_no_module() -> None:
    script = (
        "import sys; from lvm_lab.text.readers.stdlib import Stdlib\n"
        "before = set(sys.modules); reader = Stdlib(limit=40, sample='random', seed=3)\n"
        "print(reader.content(), [d.id for d in reader.documents()])\n"
        "print(sorted(set(sys.modules) - before))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
                       capture_output=True, text=True, check=True).stdout.splitlines()
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert runs[0][0].count("'") == 80
    # The standard library's place is told by a module that sysconfig reads.
    assert re.fullmatch(r"\['_sysconfigdata[\w-]*'\]|\[\]", runs[0][1])
