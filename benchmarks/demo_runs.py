"""Runs of every kind to look at a leaderboard's page with: python benchmarks/demo_runs.py FOLDER

Trains some twenty tiny models on the planted world, one process each (half an hour on two busy cores), so that every
status and every empty place of the page is there: finished, diverged, failed, damaged, started, 5cat=off, one epoch,
seeds of one config, long names. What is in FOLDER already is kept and not trained again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = (
    "data.dim=128", "data.documents=240", "data.ood_documents=80", "trainer.batch_size=128", "trainer.max_epochs=8",
    "5cat=production", "5cat.every_n_epochs=2", "5cat.max_windows=300", "5cat.eval_windows=500", "5cat.resamples=200",
    "5cat.baselines=cheap", "device=cpu", "device.threads=1", "logger=none", "run.keep_last=false",
)  # fmt: skip
SMALL = ("arch.width=48",)
RUNS: dict[str, tuple[str, ...]] = {
    **{f"gru-infonce-seed{seed}": ("arch=gru", *SMALL, f"seed={seed}") for seed in range(3)},
    "gru-infonce-all-positions": ("arch=gru", *SMALL, "trainer.supervision=all"),
    "lstm-mse": ("arch=lstm", *SMALL, "loss=mse"),
    "lstm-hybrid": ("arch=lstm", *SMALL, "loss=hybrid", "trainer.supervision=all"),
    "transformer-cosine": ("arch=transformer", *SMALL, "arch.layers=2", "loss=cosine", "trainer.supervision=all"),
    "mamba2-infonce-all-positions-width48-two-layers-rate3e-3-planted-forward": (
        "arch=mamba2", *SMALL, "arch.layers=2", "trainer.supervision=all"
    ),
    "retnet-mse": ("arch=retnet", *SMALL, "arch.layers=2", "loss=mse", "trainer.supervision=all"),
    "rwkv-infonce": ("arch=rwkv", *SMALL, "arch.layers=2"),
    "amn-within-document": ("arch=amn", *SMALL, "loss=within_document"),
    "lcm-two-tower-diffusion": (
        "arch=lcm_two_tower", *SMALL, "arch.layers=1", "head=two_tower", "head.layers=1", "loss=diffusion",
        "normaliser=robust", "trainer.supervision=all",
    ),
    "ridge": ("arch=ridge",),
    "trained-on-reversed-documents": ("arch=gru", *SMALL, "data.variant=reversed"),
    "one-epoch": ("arch=gru", *SMALL, "trainer.max_epochs=1"),
    "not-judged": ("arch=gru", *SMALL, "5cat=off", "5cat.every_n_epochs=0", "5cat.eval_windows=0"),
    "diverged-rate1e9": ("arch=lstm", *SMALL, "loss=mse", "trainer.optim.lr=1e9", "trainer.optim.clip=0"),
    "failed": ("arch=faulty",),
    "damaged-result": ("arch=s4", *SMALL, "arch.layers=1", "trainer.max_epochs=2"),
    "damaged-checkpoint": ("arch=hyena", *SMALL, "arch.layers=1", "trainer.max_epochs=2"),
    "cut-off": ("arch=gru", *SMALL, "trainer.max_epochs=5"),
}  # fmt: skip
FAULTY = '''
from lvm_lab.archs.gru import GRU


class Faulty(GRU):
    """Runs out of memory in its first step."""

    def forward(self, x_BLD):
        raise RuntimeError(
            "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.02 GiB "
            "is free. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF."
        )
'''
FAULTY_YAML = "name: faulty\n_target_: faulty.Faulty\nwidth: 48\nlayers: 1\n"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own:
        (Path(own) / "faulty.py").write_text(FAULTY)
        (Path(own) / "conf" / "arch").mkdir(parents=True)
        (Path(own) / "conf" / "arch" / "faulty.yaml").write_text(FAULTY_YAML)
        for name, settings in RUNS.items():
            run = (folder / name).resolve()
            if run.exists():
                continue
            command = [sys.executable, "-m", "lvm_lab.train", "--config-dir", f"{own}/conf", *COMMON, *settings]
            print(name, flush=True)
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                [*command, f"run.dir={run}"], cwd=own, env=environment, capture_output=True, text=True
            )
            if done.returncode not in (0, 1):
                sys.exit(f"{name} could not be trained:\n{done.stderr}")
    result = folder / "damaged-result" / "result.json"
    result.write_text(result.read_text()[:4000])
    (folder / "damaged-checkpoint" / "checkpoints" / "best_5cat.ckpt").unlink(missing_ok=True)
    (folder / "cut-off" / "result.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
