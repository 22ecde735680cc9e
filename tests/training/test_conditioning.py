"""Models that read TMD codes beside vectors: they learn from them, say so, and are refused what has none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lvm_lab
from helpers.commands import call
from helpers.documents import make_documents
from helpers.judge_data import preset
from lvm_lab import diagnose
from lvm_lab.config.data import DataSettings
from lvm_lab.data import tmd
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.parts import cut_parts
from lvm_lab.data.source import Opened
from lvm_lab.data.store import open_store, write_store
from lvm_lab.data.tmd import MISSING, Names, columns
from lvm_lab.data.windows import Windows, index_windows
from lvm_lab.errors import UserError
from lvm_lab.jobs.prediction import predict
from lvm_lab.judge.five_cat import predicted
from lvm_lab.judge.gates.ablations import OrderAblations
from lvm_lab.judge.gates.rollout import Rollout
from lvm_lab.judge.predictions import Forward, as_read
from lvm_lab.nn.condition import Concat, Film
from lvm_lab.scoring.ground import Ground
from lvm_lab.types import Prediction

DIM, LENGTH, DOCUMENTS = 16, 12, 60
NAMES = Names(("a", "b", "c", "d"), ("task",), ("modifier",))
OTHER = Names(("b", "a", "c", "d"), ("task",), ("modifier",))


def told_by_codes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of which each is near the direction that the code of the one before it names, and nothing else says."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(np.random.default_rng(5).standard_normal((DIM, DIM)))[0][:4]
    domain_N = rng.integers(4, size=DOCUMENTS * LENGTH)
    x_ND = directions[np.roll(domain_N, 1)] + rng.normal(scale=0.1, size=(len(domain_N), DIM))
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    none = np.zeros_like(domain_N)
    return x_ND.astype(np.float32), tmd.pack(domain_N, none, none)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conditioned")
    vectors_ND, codes_N = told_by_codes()
    documents, contract = make_documents([LENGTH] * DOCUMENTS), EncoderContract(encoder="told")
    write_store(folder / "coded", vectors_ND, documents, contract, codes_N=codes_N, table=NAMES)
    write_store(folder / "bare", vectors_ND, documents, contract)
    write_store(folder / "other", vectors_ND, documents, contract, codes_N=codes_N, table=OTHER)
    return folder


def train(work: Path, run: str, *words: str, store: str = "coded") -> Any:
    return call(
        work,
        *("data=npz", f"data.path={store}", "arch=gru", "arch.width=16", "arch.layers=1", "loss=cosine"),
        *("trainer.max_epochs=5", "trainer.batch_size=64", "5cat=smoke", "5cat.baselines=[copy_last]", "device=cpu"),
        *("trainer.optim.lr=1e-2", "device.threads=1", "logger=none", "run.cache=cache", f"run.dir={run}", *words),
    )


def result(work: Path, run: str) -> dict[str, Any]:
    done: dict[str, Any] = json.loads((work / run / "result.json").read_text())
    return done


@pytest.mark.parametrize(("form", "windows"), [("concat", "sliding"), ("film", "documents")])
def test_a_model_learns_what_only_codes_say(form: str, windows: str, work: Path) -> None:
    run = f"{form}-{windows}"
    said = train(work, run, f"data.tmd={form}", f"data.windows={windows}")
    assert said.code == 0, said.err
    done = result(work, run)
    assert done["val"]["cos"]["value"] > 0.6
    model = lvm_lab.load(work / run)
    assert model.tmd == NAMES
    assert model.identity["tmd"]["form"] == form
    assert model.identity["content"]["tmd"]


def test_without_codes_nothing_of_it_can_be_learned(work: Path) -> None:
    said = train(work, "plain", "trainer.max_epochs=2")
    assert said.code == 0, said.err
    assert result(work, "plain")["val"]["cos"]["value"] < 0.6
    assert "tmd" not in lvm_lab.load(work / "plain").identity["content"]
    assert train(work, "bare-run", "trainer.max_epochs=2", store="bare").code == 0
    assert result(work, "plain")["fingerprint"] == result(work, "bare-run")["fingerprint"]


def test_data_without_codes_or_of_other_names_is_refused(work: Path) -> None:
    said = train(work, "refused", "data.tmd=concat", store="bare")
    assert said.code == 2
    assert "has none; give its chunks codes with `lvm-lab tmd store=FOLDER`, or set data.tmd=null." in said.err
    said = train(work, "refused", "data.tmd=concat", "data.ood_path=other")
    assert said.code == 2
    assert "another table of names" in said.err
    assert not (work / "refused").exists()


def test_predict_reads_the_codes_of_a_store(work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(work)
    if not (work / "concat-sliding").exists():
        train(work, "concat-sliding", "data.tmd=concat")
    out = tmp_path / "out.npz"
    predict("concat-sliding", "coded", out, device="cpu", cache="cache")
    model, store = lvm_lab.load("concat-sliding"), open_store(work / "coded")
    arrays = np.load(out)
    rows_BL = arrays["after_row"][:7, None] + np.arange(-4, 1)
    assert store.codes_N is not None
    read_BLD = np.concatenate([store.vectors_ND[rows_BL], columns(store.codes_N[rows_BL])], axis=-1)
    with torch.inference_mode():
        raw_BD = model.predict(torch.from_numpy(read_BLD)).raw_ND.numpy()
    np.testing.assert_allclose(arrays["raw"][:7], raw_BD, atol=1e-6)
    with pytest.raises(UserError, match="reads TMD codes and bare has none"):
        predict("concat-sliding", "bare", tmp_path / "none.npz", device="cpu", cache="cache")
    with pytest.raises(UserError, match="another table of names than other has"):
        predict("concat-sliding", "other", tmp_path / "none.npz", device="cpu", cache="cache")
    with pytest.raises(ValueError, match=r"TMD code \(lvm_lab.data.tmd.columns\) behind its vector"):
        model.predict(torch.zeros(1, 5, DIM))


def test_diagnose_gives_a_model_its_codes(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    if not (work / "concat-sliding").exists():
        assert train(work, "concat-sliding", "data.tmd=concat").code == 0
    words = ("concat-sliding", "--device", "cpu", "--json", str(tmp_path / "numbers.json"))
    for data in ((), ("--data", "coded")):
        assert diagnose.main([*words, *data]) == 0, capsys.readouterr().err
        (numbers,) = json.loads((tmp_path / "numbers.json").read_text()).values()
        assert numbers["windows"] > 0
        assert numbers["cos"]["value"] > 0.6, "what codes alone say is read"
    capsys.readouterr()
    for data, sentence in (("bare", "has none"), ("other", "another table of names")):
        assert diagnose.main([*words, "--data", data]) == 2
        assert sentence in capsys.readouterr().err


def test_conditioned_and_plain_models_stand_in_one_table(work: Path, tmp_path: Path) -> None:
    for run, words in (("concat-sliding", ["data.tmd=concat"]), ("plain", ["trainer.max_epochs=2"])):
        if not (work / run).exists():
            assert train(work, run, *words).code == 0
    from lvm_lab import evaluate

    settings = ("parts=[val]", "5cat=smoke", "5cat.baselines=[copy_last]", "device=cpu", f"out={tmp_path / 'out'}")
    said = call(work, "concat-sliding", "plain", *settings, "cache=cache", main=evaluate.main)
    assert said.code == 0, said.err
    report = json.loads((tmp_path / "out/evaluation.json").read_text())
    (data,) = report["data"]
    numbers = {p["name"]: p["parts"]["val"]["cos"]["value"] for p in data["predictors"]}
    assert max(numbers.values()) > 0.6
    assert len(numbers) == 3


def test_a_store_without_codes_is_left_out_and_the_rest_is_judged(work: Path, tmp_path: Path) -> None:
    """Of several stores one that has none keeps nobody from the numbers of the others."""
    numbers_ND, codes_N = told_by_codes(seed=7)
    documents, contract = make_documents([LENGTH] * DOCUMENTS, source="far"), EncoderContract(encoder="told")
    write_store(tmp_path / "far", numbers_ND, documents, contract, codes_N=codes_N, table=NAMES)
    write_store(tmp_path / "far_bare", -numbers_ND, documents, contract)
    store = open_store(tmp_path / "far")
    whole = Ground.of_run(
        cut_parts(Opened(store, {"store": store.content}), DataSettings(), tmp_path / "cache", every_position=False),
        preset(),
        tmp_path,
    )
    stores = {name: open_store(tmp_path / name) for name in ("far", "far_bare")}
    windows = {name: index_windows(one, np.arange(DOCUMENTS), 5) for name, one in stores.items()}
    ground = replace(whole, windows={**whole.windows, **windows}, stores=dict.fromkeys(stores, "x"))
    ground = replace(ground, sources={name: f"{name}.npz" for name in ground.windows})
    assert ground.coded(None) == ground
    left = ground.coded(NAMES)
    assert set(left.windows) == {*whole.windows, "far"}
    assert left.skipped["far_bare.npz"].startswith("the model reads TMD codes and far_bare.npz has none; ")
    assert set(ground.coded(OTHER).windows) == set(whole.windows)
    with pytest.raises(UserError, match=r"far_bare\.npz has none"):
        replace(ground, windows={"far_bare": windows["far_bare"]}, stores={"far_bare": "x"}).coded(NAMES)


class ReadsCodes:
    """Predicts the direction that the domain of the last chunk's code names, and keeps all that it was called on."""

    tmd = NAMES

    def __init__(self) -> None:
        self.calls: list[Tensor] = []

    def __call__(self, context_BLD: Tensor) -> Prediction:
        self.calls.append(context_BLD)
        return Prediction.from_raw(context_BLD[:, -1, :DIM] + 1e-3)


def coded_windows(work: Path) -> Windows:
    store = open_store(work / "coded")
    return index_windows(store, np.arange(4), 5)


def test_ablations_move_codes_with_their_vectors(work: Path) -> None:
    windows, predictor = coded_windows(work), ReadsCodes()
    assert windows.codes_N is not None
    code_of = {
        vector.tobytes(): columns(code)
        for vector, code in zip(np.asarray(windows.vectors_ND), windows.codes_N, strict=True)
    }
    forward, gate = Forward(predictor), OrderAblations()
    part = predicted(forward, as_read(windows, predictor), preset("smoke"), 5)
    gate.measure(part, gate.draw(windows, 0))
    assert len(predictor.calls) > 8
    for context_BLD in predictor.calls:
        for row in context_BLD.flatten(0, 1).numpy():
            np.testing.assert_array_equal(row[DIM:], code_of[row[:DIM].tobytes()])


def test_a_rollout_carries_the_last_code(work: Path) -> None:
    windows, predictor = coded_windows(work), ReadsCodes()
    part = predicted(Forward(predictor), as_read(windows, predictor), preset("smoke"), 5)
    Rollout().measure(part, {})
    fed = predictor.calls[2]
    torch.testing.assert_close(fed[:, -1, DIM:], fed[:, -2, DIM:])
    assert fed.shape[2] == DIM + 15


def test_a_predictor_of_vectors_alone_sees_no_codes(work: Path) -> None:
    class Plain(ReadsCodes):
        tmd = None  # type: ignore[assignment]

    predictor = Plain()
    Forward(predictor)(as_read(coded_windows(work), predictor).inputs(), np.arange(28))
    assert predictor.calls[0].shape[2] == DIM


def test_concat_is_the_fields_form() -> None:
    codes = np.array([[0b1010_00110_010011_0, MISSING, 0]], dtype=np.uint16)
    x = torch.randn(1, 3, DIM)
    out = Concat(DIM)(x, torch.from_numpy(columns(codes)))
    matrix = np.random.default_rng(1337).standard_normal((16, 15))
    form = matrix @ np.array([int(c) for c in "101000110010011"])
    torch.testing.assert_close(out[..., :DIM], x)
    np.testing.assert_allclose(out[0, 0, DIM:].numpy(), form / np.linalg.norm(form), rtol=1e-4, atol=1e-6)
    assert not out[0, 1:, DIM:].any()


def test_film_tells_codes_apart_and_leaves_chunks_without_one_alone() -> None:
    codes = np.array([[0x1000, 0x2000, 0x1080, 0x1002, MISSING]], dtype=np.uint16)
    x = torch.ones(1, 5, DIM)
    film = Film(DIM)
    torch.testing.assert_close(film(x, torch.from_numpy(columns(codes))), x)
    torch.nn.init.normal_(film.change.weight)
    torch.nn.init.normal_(film.change.bias)
    out = film(x, torch.from_numpy(columns(codes)))[0]
    assert torch.unique(out, dim=0).shape[0] == 5
    torch.testing.assert_close(out[4], x[0, 4])


def test_a_conditioned_model_steps_as_it_reads(work: Path) -> None:
    if not (work / "film-documents").exists():
        assert train(work, "film-documents", "data.tmd=film", "data.windows=documents").code == 0
    model = lvm_lab.load(work / "film-documents")
    read_BLD = torch.from_numpy(replace(coded_windows(work)).inputs()[:3])
    state = None
    with torch.inference_mode():
        for place in range(5):
            prediction, state = model.step(read_BLD[:, place], state)
        torch.testing.assert_close(prediction.raw_ND, model.predict(read_BLD).raw_ND, atol=1e-5, rtol=1e-4)
