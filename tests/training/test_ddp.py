"""One run on several devices: two CPU processes (gloo) compute what one does, and share one folder."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from helpers.commands import MODEL, PATIENCE, Outcome, call, finish, fork, only_run, rows, timeless, tree, wait_until
from helpers.documents import make_documents
from lvm_lab.archs.gru import GRU
from lvm_lab.config.settings import OptimSettings
from lvm_lab.data.batches import SegmentBatches
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.segments import Cuts, SegmentDraw
from lvm_lab.data.store import write_store
from lvm_lab.data.windows import Windows
from lvm_lab.errors import UserError
from lvm_lab.heads.dual import DualHead
from lvm_lab.losses.energy import Energy
from lvm_lab.losses.infonce import InfoNCE
from lvm_lab.losses.moment import Moment
from lvm_lab.losses.mse import MSE
from lvm_lab.losses.variance import Variance
from lvm_lab.model import LatentVectorModel
from lvm_lab.training import devices
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.types import Batch, Prediction, Stats

WORLD = ("data.dim=32", "data.documents=60", "data.ood_documents=12", "data.planes=4", "data.topic_dims=4")
SMALL = (*WORLD, *MODEL, "arch.width=16", "trainer.batch_size=64", "arch.dropout=0")
TINY = (*SMALL, "5cat=off", "trainer.max_epochs=2")
# Every device has its own number of targets.
DOCUMENTS = ("data.windows=documents", "data.context_length=9", "data.min_context=3")
TWO = ("device=ddp", "device.accelerator=cpu", "device.devices=2")
# Without a name to look up, so that gloo needs no network.
LOCAL = {"GLOO_SOCKET_IFNAME": "lo"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def on_two(folder: Path, *arguments: str) -> Outcome:
    """The command with two processes: the first is forked, and Lightning starts the second, which imports all anew."""
    return finish(fork(folder, *arguments, *TWO, **LOCAL))


def trained(folder: Path, cache: Path, *arguments: str, tiny: tuple[str, ...] = TINY) -> list[list[dict[str, Any]]]:
    """The history of one process, in the folder `one`, and of two, in `two`."""
    command = (*tiny, f"run.cache={cache}", *arguments)
    for name, train in {"one": call, "two": on_two}.items():
        (folder / name).mkdir()
        said = train(folder / name, *command)
        assert (said.code, said.err) == (0, ""), said
    return [rows(only_run(folder / name / "outputs")) for name in ("one", "two")]


def losses(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    names = ("train/", "val/", "gradient_share/")
    return [{k: v for k, v in row.items() if k.startswith(names)} for row in history]


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [("loss=infonce", "loss.negatives=2"), ("loss=mse",), ("loss=hybrid",), ("loss=hybrid", *DOCUMENTS)],
    ids=["infonce", "mse", "hybrid", "documents"],
)
def test_two_processes_compute_what_one_does(tmp_path: Path, cache: Path, loss: tuple[str, ...]) -> None:
    one, two = trained(tmp_path, cache, *loss)
    assert len(one) == len(two) == 2
    for alone, together in zip(losses(one), losses(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-5)
    assert [row["step"] for row in two] == [row["step"] for row in one]
    folders = [only_run(tmp_path / name / "outputs") for name in ("one", "two")]
    assert {*tree(folders[0])} == {*tree(folders[1])}
    assert folders[0].name == folders[1].name
    log = (folders[1] / "train.log").read_text()
    assert log.count("training on cpu") == log.count("epoch 2 of 2") == 1
    # Finished: one sentence, no second process, nothing written.
    before = tree(folders[1])
    again = on_two(tmp_path / "two", *TINY, f"run.cache={cache}", *loss)
    assert (again.code, again.err) == (0, "")
    assert again.out.count("this run is finished already") == 1
    assert {k: v for k, v in tree(folders[1]).items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }


@pytest.mark.slow
def test_two_processes_draw_a_mix_of_stores_as_one_does(tmp_path: Path, cache: Path) -> None:
    """The weights are of the global batches, whichever device a window of them goes to."""
    for seed, name in enumerate(("often", "seldom")):
        vectors_ND = np.random.default_rng(seed).standard_normal((60 * 12, 32)).astype(np.float32)
        write_store(tmp_path / name, vectors_ND, make_documents([12] * 60, source=name), EncoderContract(dim=32))
    weighed = f"data.path=[{{path: {tmp_path}/often, weight: 2}}, {{path: {tmp_path}/seldom, weight: 0.5}}]"
    tiny = (*TINY[len(WORLD) :], "data=npz", weighed)
    one, two = trained(tmp_path, cache, "loss=hybrid", tiny=tiny)
    for alone, together in zip(losses(one), losses(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-5)
    steps = [row["step"] for row in two]
    assert [row["step"] for row in one] == steps
    log = (only_run(tmp_path / "two" / "outputs") / "train.log").read_text()
    assert "epoch 2 of 2" in log


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["first", "second"])
def test_killed_and_taken_up_again(tmp_path: Path, cache: Path, victim: str) -> None:
    command = (*TINY, f"run.cache={cache}", "trainer.max_epochs=20")
    process = fork(tmp_path, *command, *TWO, **LOCAL)
    assert wait_until(lambda: list(tmp_path.glob("outputs/*/checkpoints/last.ckpt")), process)
    (second,) = children(process.pid)
    os.kill(process.pid if victim == "first" else second, signal.SIGKILL)
    finish(process)
    ends = time.monotonic() + PATIENCE
    while alive(second):
        assert time.monotonic() < ends, "the second process outlives the first"
        time.sleep(0.1)
    folder = only_run(tmp_path / "outputs")
    # A process that lost its companion has nothing to record: the run is to go on.
    assert not (folder / "result.json").exists()
    again = on_two(tmp_path, *command)
    assert again.code == 0, again.err
    assert "going on after epoch" in again.out
    assert [row["epoch"] for row in rows(folder)] == list(range(20))
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"


# Dropout draws on each device from a state of its own, and each has summed its own share of the losses.
WITH_DROPOUT = (*TINY, "arch.dropout=0.2", "trainer.max_epochs=6")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of the run with dropout that nothing interrupted."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert on_two(folder, *WITH_DROPOUT, f"run.cache={cache}").code == 0
    return only_run(folder / "outputs")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["first", "second"])
def test_sent_away_inside_an_epoch_both_go_on_where_they_were(
    tmp_path: Path, cache: Path, unbroken: Path, victim: str
) -> None:
    command = (*WITH_DROPOUT, f"run.cache={cache}")
    process = fork(tmp_path, *command, *TWO, "trainer.checkpoint.every_minutes=1e-9", **LOCAL)
    assert wait_until(lambda: list(tmp_path.glob("outputs/*/checkpoints/last.ckpt")), process)
    (second,) = children(process.pid)
    os.kill(process.pid if victim == "first" else second, signal.SIGTERM)
    said = finish(process)
    assert said.code == 143, said
    folder = only_run(tmp_path / "outputs")
    assert not (folder / "result.json").exists()
    again = on_two(tmp_path, *command)
    assert again.code == 0, again.err
    assert "going on after epoch" in again.out
    assert timeless(rows(folder)) == timeless(rows(unbroken))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if trains(int(child))]


def trains(pid: int) -> bool:
    return b"lvm_lab.train" in Path(f"/proc/{pid}/cmdline").read_bytes()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


STRATEGIES = {
    "curriculum": (
        "strategy=curriculum",
        "strategy.stages=[{name:hard,begin:0.5,end:1,epochs:1},{name:mixed,begin:0,end:1,epochs:1}]",
        "trainer.max_epochs=2",
    ),
    "multi_resolution": ("strategy=multi_resolution",),
    # The temperature of the loss that waits gets no gradient of its own.
    "pretrained": ("strategy=pretrained", "strategy.epochs=1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_train_a_strategy_as_one_does(tmp_path: Path, cache: Path, strategy: str) -> None:
    one, two = trained(tmp_path, cache, *STRATEGIES[strategy])
    for alone, together in zip(losses(one), losses(two), strict=True):
        assert together == pytest.approx(alone, abs=1e-5)
    assert [row["step"] for row in two] == [row["step"] for row in one]


@pytest.mark.slow
def test_a_row_of_a_schedule_on_two_devices(tmp_path: Path, cache: Path) -> None:
    said = on_two(tmp_path, "schedule=smoke", "run_id=gru", f"run.cache={cache}", "logger=none")
    assert (said.code, said.err) == (0, ""), said
    folder = tmp_path / "multirun" / "smoke" / "gru"
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trainer.batch_size=63",), "trainer.batch_size=63 cannot be shared evenly by 2 devices; set 62"),
        (("-m", "trainer.batch_size=64"), "leave -m away"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_a_process_is_started(
    tmp_path: Path, cache: Path, arguments: tuple[str, ...], words: str
) -> None:
    said = call(tmp_path, *arguments, *[a for a in TINY if "batch_size" not in a], f"run.cache={cache}", *TWO)
    assert said.code == (1 if "-m" in arguments else 2), said
    assert words in said.sentence
    assert [p for p in tree(tmp_path) if "config.yaml" in p] == []


def test_several_devices_compose(tmp_path: Path) -> None:
    said = call(tmp_path, "device=ddp", "--cfg", "job")
    assert said.code == 0, said.err
    assert "strategy: ddp" in said.out


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_2", "modelparallel"])
def test_sharded_parameters_are_refused(tmp_path: Path, strategy: str) -> None:
    said = call(tmp_path, *TINY, f"device.strategy={strategy}")
    assert said.code == 2
    assert said.sentence.startswith(f"device.strategy={strategy} shards parameters")
    assert said.sentence.endswith("set device=ddp.")
    assert not (tmp_path / "outputs").exists()


WINDOWS, DIM = 12, 6
# A term's value is the mean over devices, or the same on each; gradients are the means, as DDP takes them.
TERMS = {"infonce": InfoNCE, "moment": Moment, "variance": Variance, "energy": Energy}


def learned(rank: int, world: int) -> dict[str, dict[str, Tensor]]:
    """Every term's value, its share of the gradient and the gradients, of one device's windows."""
    generator = torch.Generator().manual_seed(0)
    context_BLD, target_BD, noise_BSD = (torch.randn(WINDOWS, n, DIM, generator=generator) for n in (5, 1, 3))
    document_B = torch.arange(WINDOWS) // 2
    share = slice(rank, None, world)
    torch.manual_seed(1)
    loss = WeightedTerms({name: term() for name, term in TERMS.items()}, dict.fromkeys(TERMS, 0.5))
    weights = torch.nn.Linear(DIM, DIM)
    draws_SND = weights(context_BLD[share, -1]) + noise_BSD[share].transpose(0, 1)
    prediction = replace(Prediction.from_raw(draws_SND.mean(0)), draws_SND=draws_SND)
    batch = Batch(context_BLD[share], target_BD[share, 0], document_B[share])
    total, parts = loss(prediction, batch, Stats(torch.zeros(DIM), torch.ones(DIM)))
    shares = {name: torch.tensor(value) for name, value in loss.gradient_shares(prediction, parts).items()}
    total.backward()
    named = [*weights.named_parameters(), *loss.named_parameters()]
    found = {name: p.grad for name, p in named if p.grad is not None}
    return {"parts": {k: v.detach() for k, v in parts.items()}, "shares": shares, "gradients": found}


def learned_of_segments(rank: int, world: int) -> dict[str, dict[str, Tensor]]:
    """The same of one device's segments, of which each has its own number of targets."""
    lengths = np.array([9, 4, 7, 3, 8, 5])
    end_S = np.cumsum(lengths)
    target_W = np.concatenate([np.arange(end - size + 2, end) for end, size in zip(end_S, lengths, strict=True)])
    of_W = np.repeat(np.arange(6), lengths - 2)
    vectors_ND = np.random.default_rng(0).standard_normal((int(lengths.sum()), DIM)).astype(np.float32)
    windows = Windows(vectors_ND, target_W, of_W, (end_S - lengths)[of_W], end_S[of_W], context_length=8)
    draw = SegmentDraw(Cuts(windows, 2).segments(), (0, 1))
    batch = SegmentBatches(3, rank, world)[draw]
    torch.manual_seed(1)
    stats = Stats(torch.zeros(DIM), torch.ones(DIM))
    backbone = GRU(DIM, 8, width=DIM, layers=1)
    model = LatentVectorModel(backbone, DualHead(DIM, stats, hidden=8), stats, {})
    every = TERMS | {"mse": MSE}
    loss = WeightedTerms({name: term() for name, term in every.items()}, dict.fromkeys(every, 0.5))
    module = LatentVectorModule(model, loss, OptimSettings())
    prediction, batch = module.supervised(batch)
    # Draws that are a function of each row, since a device draws noise for its own rows.
    raw_ND = prediction.raw_ND
    prediction = replace(prediction, draws_SND=torch.stack([raw_ND, 2 * raw_ND, raw_ND.roll(1, -1)]))
    prediction, total, parts = module._judged(prediction, batch)
    shares = {name: torch.tensor(value) for name, value in module.loss.gradient_shares(prediction, parts).items()}
    total.backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return {"parts": {k: v.detach() for k, v in parts.items()}, "shares": shares, "gradients": found}


def one_of_two(rank: int, folder: str) -> None:
    os.environ |= LOCAL
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save({"windows": learned(rank, 2), "segments": learned_of_segments(rank, 2)}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_every_term_sees_the_global_batch(tmp_path: Path) -> None:
    mp.start_processes(one_of_two, args=(str(tmp_path),), nprocs=2, start_method="forkserver")
    saved = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for what, one in (("windows", learned(0, 1)), ("segments", learned_of_segments(0, 1))):
        first, second = (both[what] for both in saved)
        for kind, values in one.items():
            assert set(values) == set(first[kind])
            for name, value in values.items():
                mean = (first[kind][name] + second[kind][name]) / 2
                torch.testing.assert_close(
                    mean, value, atol=1e-6, rtol=1e-5, msg=lambda m, n=name, w=what: f"{w} {n} {m}"
                )
    for name in ("moment", "variance"):
        torch.testing.assert_close(saved[0]["windows"]["parts"][name], saved[1]["windows"]["parts"][name])
    assert {"weight", "bias", "terms.infonce.log_temperature"} <= set(learned(0, 1)["gradients"])


def test_nothing_to_train_is_no_run_for_several_devices() -> None:
    with pytest.raises(UserError, match="nothing is trained here that 2 devices could share"):
        devices.check(2, 64, trained=False)
    devices.check(1, 63, trained=False)
