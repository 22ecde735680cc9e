"""Writes the two tables of docs/5cat.md: what the gates, and the old tool's, say of predictors whose truth is known.

python benchmarks/honest_gates.py [RUN_DIR]

Trains one model first, unless RUN_DIR (outputs/honest_gates) holds it finished.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from common import settings
from parity_table import ROOT, replace_between

import lvm_lab
from lvm_lab.build.data import parts as cut
from lvm_lab.model import LatentVectorModel

PAGE = ROOT / "docs" / "5cat.md"
MODEL = ("arch=mamba2", "loss=infonce", "data=planted", "seed=0")
HEADS = ("predictor", "A margin", "B MRR", "C tightest change", "D rollout", "E difference", "passed", "alarm")


def trained(place: Path) -> LatentVectorModel:
    """README's first run, whose checkpoint is the one its own numbers are of."""
    command = [sys.executable, "-m", "lvm_lab.train", *MODEL, "logger=none", f"run.dir={place}"]
    subprocess.run(command, check=True)
    return lvm_lab.load(place)


def main(place: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers.honest import cases, line
    from lvm_lab.judge.five_cat import measure

    model = trained(place)
    run_settings = settings(*MODEL)
    parts = cut(run_settings)
    compat = settings(*MODEL, "five_cat=lnsp_compat").preset
    for mark, preset in (("honest", run_settings.preset), ("old", compat)):
        lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
        for case in cases(parts, model.predict):
            judged = measure(case.predictor, case.val, case.ood, preset)
            lines.append(line(replace(case, name=case.name.replace("model", "`arch=mamba2`")), judged, preset))
            print(lines[-1], flush=True)
        replace_between(PAGE, mark, "\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("outputs/honest_gates"))
