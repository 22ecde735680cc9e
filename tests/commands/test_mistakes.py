"""Numbers, names, files and streams that no run can go on: one sentence before anything is trained, or no harm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import ENVIRONMENT, PATIENCE, TINY, call, only_run
from lvm_lab import status
from lvm_lab.commands.multirun import check_folders
from lvm_lab.config import conf
from lvm_lab.errors import UserError
from lvm_lab.sweeps import schedule

FINITE = "does not fit; give it a finite number"
HUGE = "give it a number up to"
NUMBERS = {
    "trainer.optim.weight_decay=nan": FINITE,
    "trainer.optim.weight_decay=inf": FINITE,
    "trainer.optim.final_lr=nan": FINITE,
    "trainer.optim.clip=nan": FINITE,
    "five_cat.thresholds.a.val.margin=nan": FINITE,
    "five_cat.seed=99999999999999999999": HUGE,
    "five_cat.max_windows=99999999999999999999": HUGE,
    "five_cat.max_windows=abc": "5cat.max_windows='abc' does not fit; give it a whole number",
    "five_cat.every_n_epochs=null": "5cat.every_n_epochs=null does not fit; give it a whole number",
    "five_cat.rollout_steps=1.5": "give it a whole number",
    "five_cat.rollout_steps=1000000": "5cat.rollout_steps=1000000 is too large",
    "five_cat.resamples=100000000000": "5cat.resamples=100000000000 is too large",
    "seed=18446744073709551616": "seed=18446744073709551616 does not fit; give it a whole number from 0 to",
    "data.seed=-1": "data.seed=-1 does not fit",
    "data.seed=99999999999999999999": HUGE,
    "data.max_per_doc=99999999999999999999": HUGE,
    "data.angle=nan": FINITE,
    "data.topic_norm=inf": FINITE,
    "data.speeds=[nan]": "data.speeds=[nan] does not fit",
    "data.noise_low=nan": FINITE,
    "data.noise_low=2": "data.noise_low=2 and data.noise_high=0.8 are no range",
    "data.noise_high=-1": "are no range",
    "data.dim=100000000": "GB of vectors",
    "data.documents=100000000000": "GB of vectors",
    "data.length=5": "its longest document has 5 chunks and data.context_length=5 needs 6",
    "data.context_length=1000": "its longest document has 20 chunks and data.context_length=1000 needs 1001",
    "device.threads=100000": "device.threads=100000 does not fit; set it from 1 to 1024",
    "arch.width=100000000": "gru: width is 100000000; set it to 65536 or less",
    "arch.layers=1000000": "gru: layers is 1000000; set it to 1024 or less",
    "loss.negatives=100000": "loss.negatives=100000 does not fit; give it a whole number from 0 to 1024",
    "loss.terms.infonce.weight=nan": "loss.terms.infonce.weight=nan does not fit",
    "loss.terms.infonce.weight=inf": "loss.terms.infonce.weight=inf does not fit",
    "loss.terms.infonce.same_above=nan": FINITE,
}
NAMES = ("arch.name=a/b", "arch.name=..", "arch.name=", "arch.name=../x", "loss.name=a/b", "data.name=../../x")


@pytest.mark.parametrize(("argument", "sentence"), NUMBERS.items())
def test_a_number_that_no_run_can_use(tmp_path: Path, argument: str, sentence: str) -> None:
    outcome = call(tmp_path, *TINY, "run.cache=cache", argument)
    assert outcome.code == 2
    assert sentence in outcome.sentence
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("argument", NAMES)
def test_a_name_that_makes_no_folder(tmp_path: Path, argument: str) -> None:
    outcome = call(tmp_path, *TINY, "run.cache=cache", argument)
    assert outcome.code == 2
    assert f"{argument.partition('=')[0]}=" in outcome.sentence
    assert "because folders are called by it" in outcome.sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", ["arch=null", "loss=null", "five_cat=null", "arch=3", "logger=null"])
def test_a_group_without_an_option(tmp_path: Path, argument: str) -> None:
    outcome = call(tmp_path, argument)
    assert outcome.code == 2
    assert outcome.sentence.startswith(f"{argument.replace('five_cat', '5cat')} names no option; choose one")


@pytest.mark.parametrize("group", ["trainer", "run"])
def test_a_node_that_is_null(tmp_path: Path, group: str) -> None:
    assert call(tmp_path, f"{group}=null").sentence.startswith(f"{group}=null does not fit")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    outcome = call(tmp_path, "data=npz", "data.path=pipe.npz", "run.cache=cache", "device=cpu", "logger=none")
    assert outcome.code == 2
    assert outcome.sentence.startswith("pipe.npz is a pipe or a device where an .npz file is needed")


def test_a_broken_option_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "own" / "arch").mkdir(parents=True)
    (tmp_path / "own" / "arch" / "mine.yaml").write_text("name: mine\nwidth: [1,\n")
    outcome = call(tmp_path, "--config-dir", "own", "arch=mine")
    assert outcome.code == 2
    assert "mine.yaml, line 3, is no YAML" in outcome.sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"seed: [1,\n", "mine.yaml, line 2"),
        (b"\xff\xfe\x00", "mine.yaml"),
        (b"a: b: c\n", "mine.yaml, line 1"),
        (b"[1, 2]\n", "mine.yaml holds [1, 2] where settings are needed"),
    ],
)
def test_broken_local_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sentence: str) -> None:
    home = tmp_path / "conf"
    shutil.copytree(conf.conf_dir(), home)
    (home / "local" / "mine.yaml").write_bytes(content)
    for place in ("commands.launch", "commands.composing", "config.conf"):
        monkeypatch.setattr(f"lvm_lab.{place}.conf_dir", lambda: home)
    outcome = call(tmp_path, "local=mine")
    assert outcome.code == 2
    assert sentence in outcome.sentence
    assert "codec" not in outcome.sentence


SHARED = (
    ["seed=0,1", "run.dir=one"],
    ["seed=0,1", "run.dir='one/${arch.name}'"],
    ["seed=0,1", "run.dir=one,two"],
    ["arch=gru,lstm", "seed=0,1", "run.dir='one/${seed}'", "run.force=true"],
)


@pytest.mark.parametrize("arguments", SHARED)
def test_jobs_that_would_share_a_folder(tmp_path: Path, arguments: list[str]) -> None:
    outcome = call(tmp_path, "-m", *arguments)
    assert outcome.code == 2
    assert "is the folder of several of these" in outcome.sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [["seed=0", "run.dir=one"], ["seed=0,1", "run.dir='one/${seed}'"], ["seed=0,1"], ["run.dir=a,b"]]
)
def test_jobs_with_folders_of_their_own(arguments: list[str]) -> None:
    check_folders("train", ["-m", *arguments])


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["| head -1", "2>&1 | head -1", ">&-"])
def test_training_outlives_its_reader(tmp_path: Path, ending: str) -> None:
    settings = " ".join((*TINY, "trainer.max_epochs=1", "run.cache=cache"))
    command = ["bash", "-c", f"set -o pipefail; {sys.executable} -m lvm_lab.train {settings} {ending}"]
    environment = os.environ | ENVIRONMENT
    outcome = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert (only_run(tmp_path / "outputs") / "result.json").is_file()


@pytest.mark.parametrize(("door", "argument"), [("train", "--help"), ("status", "."), ("report", ".")])
def test_without_posix_locks(tmp_path: Path, door: str, argument: str) -> None:
    """As on Windows, where there is no module fcntl."""
    code = (
        "import sys, runpy, warnings; warnings.simplefilter('ignore'); sys.modules['fcntl'] = None; "
        f"sys.argv = ['x', {argument!r}]; runpy.run_module('lvm_lab.{door}', run_name='__main__')"
    )
    command, environment = [sys.executable, "-c", code], os.environ | ENVIRONMENT
    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in outcome.stderr
    assert outcome.returncode == 0 or (door != "train" and outcome.stderr.startswith("error: "))


def test_jobs_that_would_share_a_folder_by_an_option_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "own" / "arch").mkdir(parents=True)
    (tmp_path / "own" / "arch" / "mine.yaml").write_text("name: mine\n_target_: lvm_lab.archs.gru.GRU\n")
    outcome = call(tmp_path, "--config-dir", "own", "-m", "arch=mine,gru", "run.dir=one")
    assert outcome.code == 2
    assert "is the folder of several of these 2 runs" in outcome.sentence


UNUSUAL = {
    "device.strategy=banana": "device.strategy='banana' does not exist; set auto or ddp",
    "device.accelerator=tpu": "device.accelerator='tpu' does not fit; give it one of auto, cpu",
    "device.devices=0": "device.devices=0 does not fit; set it from 1 to 1024, or to auto",
    "device.devices=-2": "device.devices=-2 does not fit",
    "device.devices=banana": "device.devices='banana' does not fit",
    "device.devices=100000": "device.devices=100000 does not fit",
    "device.devices=128": "128 devices cannot share trainer.batch_size=64; set device.devices=64 or fewer",
    "arch.width=1e400": "arch.width=inf does not fit; give it a finite number",
    "seed=true": "seed=True does not fit",
    "run.root=/proc": "/proc/gru-infonce-planted-",
    "run.cache=/dev/null": "/dev/null",
    "run.cache=/proc": "/proc/.planted",
    "callbacks=[]": "callbacks.reseed is missing",
    "trainer.optim=null": "trainer.optim=null does not fit; give it its keys (lr, weight_decay",
    "trainer.checkpoint=foo": "give it its keys (every_n_epochs, keep_best, every_minutes)",
    "seed=null": "seed=null does not fit",
    "local=null": "local=null names no settings of your own; write local=NAME",
    "arch=${nope}": "arch=${nope} refers to no group; write the option's name itself",
    "arch.width=${nope}": "arch.width refers to ${nope}, which does not exist; write a key",
    "data.path=x.npz": "did you mean data=npz data.path=x.npz?",
    "-x": "-x is no flag of lvm-lab train; see lvm-lab train --help",
    "--cfg=foo": "--cfg foo does not fit; give it one of job, hydra, all, or see lvm-lab train --help",
    "--resolve=1": "--resolve takes no such value, or needs one; see lvm-lab train --help",
    "--config-dir=nope": "--config-dir=nope is no folder; name",
    "5cat.gates=[]": "5cat.gates=[] does not fit; give it a list of at least one",
    "~data.context_length": "data.context_length",
    "loss.terms.infonce=[]": "",
    "=x": "'=x' has nothing before its =",
    "+=": "'+=' has nothing before its =",
    f"data.speeds=[{2**63}]": "data.speeds=[9223372036854775808] does not fit",
    "run.dir=/dev/full": "/dev/full is a file where a run's folder is needed",
    f"run.root={'x' * 5000}": "File name too long",
    f"run.cache={'x' * 5000}": "File name too long",
    f"arch.name={'n' * 300}": "because folders are called by it",
    "run.dir=a\udcffb": "is no text in UTF-8",
    "": "is no setting; write group=option",
}


@pytest.mark.parametrize(
    ("argument", "sentence"), UNUSUAL.items(), ids=lambda text: repr(text[:40].encode(errors="replace"))
)
def test_what_nobody_would_type(tmp_path: Path, argument: str, sentence: str) -> None:
    outcome = call(tmp_path, *TINY, "run.cache=cache", argument)
    assert outcome.code == 2
    assert sentence in outcome.sentence
    assert {item.name for item in tmp_path.iterdir()} <= {"cache"}


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/mem", ".", "x" * 5000, "''"])
def test_data_that_are_no_file(tmp_path: Path, path: str) -> None:
    settings = ("data=npz", f"data.path={path}", "run.cache=cache", "device=cpu", "logger=none")
    assert call(tmp_path, *settings).sentence


@pytest.mark.parametrize("content", [b"rows: [1,\n", b"\xff\xfe\x00"])
def test_a_broken_schedule_names_its_file_and_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"mine.yaml(, line 2,)? is no YAML"):
        schedule.read(tmp_path / "mine.yaml")


def test_memory_that_runs_out_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 3.00 TiB for an array")

    monkeypatch.setattr("lvm_lab.build.training.prepare", fail)
    assert call(tmp_path, *TINY).sentence.startswith("this machine has no memory left for that (Unable to allocate")
    monkeypatch.setattr("lvm_lab.sweeps.leaderboard.read", fail)
    outcome = call(tmp_path, main=lambda: sys.exit(status.main(["."])))
    assert (outcome.code, outcome.sentence.startswith("this machine has no memory left")) == (2, True)


@pytest.mark.parametrize("arguments", [["--help", "foo"], ["foo", "--help"], ["--help=foo"], ["--help", "all", "foo"]])
def test_help_is_of_no_word_but_all(tmp_path: Path, arguments: list[str]) -> None:
    outcome = call(tmp_path, *arguments)
    sentence = "--help takes `all` or no word, and foo is neither; see lvm-lab train --help."
    assert (outcome.code, outcome.sentence) == (2, sentence)


def test_a_multirun_on_several_devices_is_refused_before_data_are_read(tmp_path: Path) -> None:
    outcome = call(tmp_path, "-m", "data=npz", "data.path=nowhere.npz", "device=cpu", "device.devices=2")
    assert outcome.code == 1
    assert "a multirun starts its runs in one process and 2 devices need one each" in outcome.err
    assert "()" not in outcome.err
    assert "nowhere" not in outcome.sentence
