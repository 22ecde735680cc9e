"""What TMD conditioning brings: models with codes from prototypes against the same models without, on the same windows.

`python benchmarks/tmd.py --data wikipedia_minilm.npz --work FOLDER [--forms concat,film] [--seeds 3] [--epochs 5]`

The data are vectors of all-MiniLM-L6-v2 (needs the extra `text`). Prints, for test documents, each form's mean MRR
among unseen chunks and cosine over seeds, and the paired difference to the model without codes, with a 95% interval by
bootstrap over documents of the mean over seeds.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

import lvm_lab
from lvm_lab.config.conf import conf_dir
from lvm_lab.config.data import DataSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.importers.npz import import_npz
from lvm_lab.data.parts import cut_parts
from lvm_lab.data.source import Opened
from lvm_lab.data.store import Store, open_store
from lvm_lab.jobs.coding import coder_of, counts, give_codes
from lvm_lab.judge.bootstrap import means
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.following import units
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.text.encoders.minilm import MiniLM


def coded(file: Path, work: Path) -> Store:
    """The file as a store whose chunks have codes by prototypes."""
    store = import_npz(file, work / "cache", context_length=5, contract=EncoderContract())
    path = work / "store"
    if not path.exists():
        shutil.copytree(store.path, path)
    node = yaml.safe_load((conf_dir() / "tmd" / "prototypes.yaml").read_text())
    coder = coder_of(node)
    assert coder is not None
    settings = yaml.safe_load((conf_dir() / "encoder" / "minilm.yaml").read_text())
    encoder = MiniLM(**{key: value for key, value in settings.items() if key not in ("name", "_target_")})
    return give_codes(open_store(path), coder, encoder, redo=True)


def train(work: Path, form: str, seed: int, epochs: int) -> Path:
    folder = work / f"{form}-{seed}"
    words = [
        *("data=npz", f"data.path={work / 'store'}", f"data.tmd={form}", "arch=gru", "arch.width=128", "head=residual"),
        *("loss=infonce", f"trainer.max_epochs={epochs}", "trainer.optim.lr=1e-3", f"seed={seed}", "5cat=off"),
        *("logger=none", "device=cpu", "device.threads=1", f"run.dir={folder}", f"run.cache={work / 'cache'}"),
    ]
    subprocess.run([sys.executable, "-m", "lvm_lab.train", *words], check=True, capture_output=True)
    return folder


def numbers(folders: list[Path], work: Path) -> dict[str, np.ndarray]:
    """Of each test window, the mean over the seeds' models; `document` is the window's."""
    store = open_store(work / "store")
    parts = cut_parts(Opened(store, {"store": store.content}), DataSettings(), work / "cache", every_position=False)
    columns: dict[str, list[np.ndarray]] = {"mrr unseen": [], "cos": []}
    for folder in folders:
        unit_WD = units(lvm_lab.load(folder).forward, parts.test)
        columns["mrr unseen"].append(retrieval_scores(unit_WD, parts.test)["mrr_unseen"])
        columns["cos"].append(cosines(unit_WD, parts.test.vectors(parts.test.target_row_W)))
    by_seed = {f"{name}, seed {k}": column for name, all_k in columns.items() for k, column in enumerate(all_k)}
    whole = {name: np.mean(all_k, axis=0) for name, all_k in columns.items()}
    return whole | by_seed | {"document": parts.test.document_W}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--forms", default="concat,film")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    work: Path = arguments.work.absolute()
    print("domains:", counts(coded(arguments.data, work)), flush=True)
    reached = {}
    for form in ("null", *arguments.forms.split(",")):
        folders = [train(work, form, seed, arguments.epochs) for seed in range(arguments.seeds)]
        reached[form] = numbers(folders, work)
        without = reached["null"]
        for name in ("mrr unseen", "cos"):
            mine = reached[form][name]
            seeds = " ".join(f"{reached[form][f'{name}, seed {k}'].mean():.4f}" for k in range(arguments.seeds))
            line = f"{form:8s} {name:12s} {mine.mean():.4f} (seeds {seeds})"
            if form != "null":
                gain = means({"gain": mine - without[name]}, without["document"], resamples=1000, seed=0)["gain"]
                line += f"; less without: {gain.value:+.4f}, 95% {gain.low:+.4f} to {gain.high:+.4f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
