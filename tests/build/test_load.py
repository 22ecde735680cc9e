"""`lvm_lab.load` brings a plain model back, with neither trainer nor config library, from all that names a run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import lvm_lab
from lvm_lab.errors import UserError
from lvm_lab.model import KEY, LatentVectorModel
from lvm_lab.types import count_parameters

SCHEMA1 = Path(__file__).parents[1] / "fixtures" / "schema1"
CHECKPOINTS = sorted((SCHEMA1 / "checkpoints").glob("*.ckpt"))
(RUN,) = (SCHEMA1 / "outputs").iterdir()
WITHOUT = """
import importlib.abc, sys

ABSENT = {"pytorch_lightning", "lightning", "hydra", "omegaconf", "wandb"}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(f"{name} cannot be imported here")

sys.meta_path.insert(0, Absent())
import torch
import lvm_lab

for file in sys.argv[1:]:
    model = lvm_lab.load(file)
    assert isinstance(model, torch.nn.Module) and not model.training
    golden = model.identity["golden_output"]
    torch.testing.assert_close(model.golden_output(model.identity["golden_input"]), golden, atol=1e-5, rtol=1e-4)
rooms = ("sweeps", "commands", "training", "loggers", "reporting", "jobs", "scoring")
roots = [f"lvm_lab.{room}" for room in rooms] + sorted(ABSENT)
unwanted = [name for name in sys.modules if any(name == root or name.startswith(root + ".") for root in roots)]
assert not unwanted, unwanted
"""


def test_every_old_checkpoint_loads_where_lightning_and_hydra_cannot_be_imported() -> None:
    files = [*map(str, CHECKPOINTS), str(RUN)]
    subprocess.run([sys.executable, "-c", WITHOUT, *files], check=True, timeout=1800)


def test_importing_the_package_brings_torch_in_only_when_a_model_is_loaded() -> None:
    script = "import sys, lvm_lab; assert not {'torch', 'numpy', 'lvm_lab.model'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=1800)


def test_a_run_a_checkpoint_and_their_names_as_text_are_the_same_model() -> None:
    file = RUN / "checkpoints" / json.loads((RUN / "result.json").read_text())["checkpoint"]
    models = [lvm_lab.load(path) for path in (RUN, str(RUN), file, str(file))]
    context_BLD = contexts(models[0])
    for model in models[1:]:
        assert torch.equal(model(context_BLD).raw_ND, models[0].predict(context_BLD).raw_ND)


def test_a_model_says_what_it_is() -> None:
    model = lvm_lab.load(RUN)
    identity = torch.load(RUN / "checkpoints" / "best_5cat.ckpt", weights_only=True)[KEY]
    assert model.config == identity["config"]
    assert model.contract == identity["contract"]
    assert model.identity["version"] == identity["version"]
    assert model.context_length == identity["config"]["data"]["context_length"]
    assert model.stats.mean_D.shape == (len(model.mean_D),)
    assert count_parameters(model) == json.loads((RUN / "result.json").read_text())["params"]


@pytest.mark.parametrize(
    ("absent", "loaded"), [((), "best_5cat"), (("result",), "best_5cat"), (("result", "best_5cat"), "best")]
)
def test_a_folder_stands_for_its_results_checkpoint_else_for_the_best(
    tmp_path: Path, absent: tuple[str, ...], loaded: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(RUN, folder)
    for name in ("best_5cat", "best"):
        # Whose file it is shows in what it says of itself.
        saved = torch.load(RUN / "checkpoints" / "best_5cat.ckpt", weights_only=True)
        saved[KEY]["version"] = name
        torch.save(saved, folder / "checkpoints" / f"{name}.ckpt")
    for name in absent:
        (folder / ("result.json" if name == "result" else f"checkpoints/{name}.ckpt")).unlink()
    assert lvm_lab.load(folder).identity["version"] == loaded


@pytest.mark.parametrize("checkpoint", ["../../other/checkpoints/best.ckpt", "/other/best.ckpt", ""])
def test_a_result_that_names_another_folders_file_loads_nothing(tmp_path: Path, checkpoint: str) -> None:
    folder = tmp_path / "run"
    for name in ("run", "other"):
        shutil.copytree(RUN, tmp_path / name)
    file = folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"checkpoint": checkpoint}))
    with pytest.raises(UserError, match=re.escape(f"(checkpoint is {checkpoint!r}, not the name of a file in check")):
        lvm_lab.load(folder)


def test_wrong_paths_are_told(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "nowhere", "does not exist; name a .ckpt"), (tmp_path, "has no checkpoint")):
        with pytest.raises(UserError, match=words):
            lvm_lab.load(path)


def contexts(model: LatentVectorModel, batch: int = 3, length: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return F.normalize(torch.randn(batch, length, len(model.mean_D), generator=generator), dim=-1)


@pytest.mark.parametrize("file", CHECKPOINTS, ids=lambda file: file.stem)
def test_step_by_step_a_model_predicts_what_it_predicts_of_the_whole_prefix(file: Path) -> None:
    model = lvm_lab.load(file)
    context_BLD = contexts(model)
    if not model.backbone.causal:
        with pytest.raises(UserError, match="reads a context as a whole and cannot go step by step; call predict"):
            model.step(context_BLD[:, 0])
        return
    state = None
    with torch.no_grad():
        for t in range(context_BLD.shape[1]):
            prediction, state = model.step(context_BLD[:, t], state)
            whole = model.predict(context_BLD[:, : t + 1])
            torch.testing.assert_close(prediction.raw_ND, whole.raw_ND, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(prediction.unit_ND, whole.unit_ND, atol=1e-5, rtol=1e-4)


CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "schema1" / "checkpoints" / "gru-linear.ckpt"


@pytest.mark.parametrize(
    ("context", "kind", "words"),
    [
        (np.ones((1, 5, 8), np.float32), TypeError, "this is ndarray; .*torch.from_numpy makes one of an array"),
        ([[1.0]], TypeError, "this is list"),
        (torch.ones(1, 5, 8, dtype=torch.long), TypeError, "this tensor is of torch.int64"),
        (torch.ones(5, 8), ValueError, r"this tensor has shape \(5, 8\)"),
        (torch.ones(1, 0, 1), ValueError, "this tensor has shape"),
        (torch.ones(1, 5, 3), ValueError, r"this tensor has shape \(1, 5, 3\)"),
    ],
)
def test_a_context_that_is_none_is_told_with_the_shape_that_is_wanted(context: Any, kind: Any, words: str) -> None:
    model = lvm_lab.load(CHECKPOINT)
    shape = rf"a float tensor of shape \(windows, {model.context_length}, {len(model.mean_D)}\), oldest vector first"
    with pytest.raises(kind, match=words) as told:
        model.predict(context)
    assert re.search(shape, str(told.value))


def test_a_context_with_nan_is_told_to_users_and_not_to_judges() -> None:
    model = lvm_lab.load(CHECKPOINT)
    context_BLD = torch.full((1, model.context_length, len(model.mean_D)), float("nan"))
    with pytest.raises(ValueError, match="holds NaN or infinite numbers"):
        model.predict(context_BLD)
    assert model(context_BLD).raw_ND.isnan().any()
