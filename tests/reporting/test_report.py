"""The leaderboard's files: the runs' own numbers, at any moment of a sweep, and nothing of a run's text believed."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from helpers import run_files
from helpers.commands import ENVIRONMENT, TINY, call, tree
from helpers.run_files import following, graded, judgement, scores, write_ranked, write_table
from lvm_lab.report import main
from lvm_lab.reporting import words
from lvm_lab.reporting.board import write as report
from lvm_lab.reporting.board.page import embedded
from lvm_lab.runs import folder as runs
from lvm_lab.runs import reading
from lvm_lab.sweeps import leaderboard, objective

FILES = ("leaderboard.csv", "leaderboard.md", "index.html")
EVIL = '</script><img src=x onerror="window.hacked = 1"> <!-- a|b `c` *d* \u2028 --> & <b>bold</b>'


def csv_rows(out: Path) -> dict[str, dict[str, str]]:
    with open(out / "leaderboard.csv", newline="") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def page_data(out: Path) -> dict[str, Any]:
    """What the page carries, read as strictly as a browser does."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    text = (out / "index.html").read_text()
    start = text.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    found: dict[str, Any] = json.loads(text[start : text.index("</script>", start)], parse_constant=refuse)
    return found


def markdown_cells(out: Path, run: str) -> list[str]:
    (line,) = (x for x in (out / "leaderboard.md").read_text().splitlines() if f" {run} " in x and x.startswith("|"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(a) for a in arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line.removeprefix("error: ")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return tmp_path / "multirun" / "made-up"


def test_every_number_is_the_results_own(sweep: Path) -> None:
    results = {f"run-{i}": write_ranked(sweep / f"run-{i}", 0.123456789 / (i + 1), seed=i) for i in range(3)}
    assert report.write(sweep, sweep) == [sweep / name for name in FILES]
    table, page = csv_rows(sweep), {run["name"]: run for run in page_data(sweep)["runs"]}
    for name, result in results.items():
        val = result.values("val")
        expected = {key: val[key] for key in ("A/cos", "A/margin", "B/r1", "B/mrr_unseen", "D/rollout")}
        expected |= {"seconds": result.seconds, "params": result.params, "passed": result.five_cat["passed"]}
        expected |= {"skill/A/cos": result.skill["val"]["A/cos"]["value"], "throughput": 1001.5}
        expected |= {"ood/A/margin": result.value("ood", "A/margin"), "seed": result.seed}
        for key, value in expected.items():
            assert float(table[name][key]) == value, key
            assert page[name]["cells"][key] == pytest.approx(value, rel=1e-4), key
        for letter, gate in result.gates.items():
            assert table[name][letter] == {True: "pass", False: "fail", None: "null"}[gate.state]
        cells = markdown_cells(sweep, name)
        assert f"{val['A/margin']:.3f}" in cells
        assert f"{result.params:,}" in cells
        shown = {g["letter"]: g["numbers"] for g in page[name]["gates"]}
        margin = result.numbers("ood", "A")["margin"]
        assert shown["A"]["margin"]["ood"]["threshold"] == margin.threshold
        assert shown["A"]["margin"]["ood"]["interval"] == pytest.approx(margin.interval, rel=1e-4)


def test_a_sweep_is_read_at_any_moment(sweep: Path) -> None:
    done = write_ranked(sweep / "done", 0.2)
    write_ranked(sweep / "failed", None, {"status": "failed", "error": "RuntimeError: no", "params": 0})
    write_ranked(sweep / "lost", 0.4)
    (sweep / "lost" / "checkpoints" / "best_5cat.ckpt").unlink()
    write_ranked(sweep / "diverged", None, {"status": "diverged"})
    with open(sweep / "diverged" / "history.jsonl", "a") as file:
        file.write('{"epoch": 4, "val/loss": NaN, "train/loss": Infinity, "windows_per_second": NaN}\n')
    write_ranked(sweep / "torn", 0.1)
    (sweep / "torn" / "result.json").write_text(json.dumps(done.to_json())[:200])
    with open(sweep / "torn" / "history.jsonl", "a") as file:
        file.write('{"epoch": 4, "val/lo')
    write_ranked(sweep / "begun", 0.1)
    (sweep / "begun" / "result.json").unlink()
    (sweep / "begun" / "history.jsonl").unlink()
    (sweep / "locked").mkdir()
    (sweep / "locked" / ".lock").touch()
    (sweep / "half").mkdir()
    (sweep / "half" / "config.yaml").write_text("arch: {name: gru\n")
    ids = ["done", "failed", "diverged", "torn", "begun", "locked", "half", "lost", "never"]
    write_table(sweep, ids)
    report.write(sweep, sweep)
    table = csv_rows(sweep)
    assert {name: row["status"] for name, row in table.items()} == {
        "done": "finished", "failed": "failed", "diverged": "diverged", "torn": "damaged", "begun": "started",
        "locked": "missing", "half": "damaged", "lost": "damaged", "never": "missing",
    }  # fmt: skip
    assert table["torn"]["error"] == "result.json cannot be read (JSONDecodeError)"
    assert table["half"]["error"].startswith("config.yaml cannot be read")
    assert table["lost"]["error"] == "checkpoints/best_5cat.ckpt is missing"
    assert (table["lost"]["place"], table["lost"]["A/margin"]) == ("", "0.4")
    assert table["failed"]["error"] == "RuntimeError: no"
    assert table["failed"]["params"] == ""
    assert table["diverged"]["throughput"] == "1001.5"
    assert (table["never"]["arch"], table["never"]["loss"], table["never"]["A/margin"]) == ("lstm", "mse", "")
    assert table["torn"]["epochs"] == "4/4"
    page = {run["name"]: run for run in page_data(sweep)["runs"]}
    assert list(page) == ids
    assert page["torn"]["curves"]["epoch"] == [0, 1, 2, 3]
    assert page["diverged"]["curves"]["val/loss"][-1] is None
    assert "RuntimeError: no" in (sweep / "leaderboard.md").read_text()


def test_the_best_is_chosen_on_val_among_those_that_pass(sweep: Path) -> None:
    high = scores("ood", graded("ood", 0.9))
    write_ranked(sweep / "better-ood", 0.3, {"ood": {"five_cat": high}})
    write_ranked(sweep / "best", 0.35)
    weak = write_ranked(sweep / "weak", 0.05)
    report.write(sweep, sweep)
    assert weak.five_cat["verdict"] == "fail"
    assert [row["run"] for row in csv_rows(sweep).values()] == ["best", "better-ood", "weak"]
    ranked = [r.name for r in leaderboard.ranked(leaderboard.read(sweep))]
    assert ranked == ["best", "better-ood"]
    assert "best ★" in (sweep / "leaderboard.md").read_text()
    data = page_data(sweep)
    assert data["runs"][data["best"]]["name"] == "best"
    assert csv_rows(sweep)["weak"]["preset"] == "fail"


def test_a_context_length_without_equal_targets_stands_apart_with_the_reason(sweep: Path) -> None:
    def run(name: str, reads: int, margin: float, mrr: float | None) -> None:
        node = judgement(margin)
        node["val"]["following"] = following(mrr)
        write_ranked(sweep / name, margin, node, data={"name": "planted", "path": None, "context_length": reads})

    run("five", 5, 0.2, 0.4)
    run("other", 5, 0.1, 0.3)
    run("sixteen", 16, 0.2, 0.5)
    report.write(sweep, sweep)
    assert [row["place"] for row in csv_rows(sweep).values()] == ["1", "2", "3"]
    assert list(csv_rows(sweep)) == ["sixteen", "five", "other"]
    assert csv_rows(sweep)["five"]["following/mrr"] == "0.4"
    shutil.rmtree(sweep / "sixteen")
    run("sixteen", 16, 0.2, None)
    report.write(sweep, sweep)
    assert {name: row["place"] for name, row in csv_rows(sweep).items()} == {"five": "1", "other": "2", "sixteen": ""}
    reason = "it reads 16 vectors and most read 5, and without following on both they do not compare"
    assert f"1 without a place: {reason}." in (sweep / "leaderboard.md").read_text()
    page = {one["name"]: one for one in page_data(sweep)["runs"]}
    assert page["sixteen"]["notes"][0] == f"no place: {reason}"
    assert page["five"]["notes"] == []
    assert page["five"]["baselines"]["heads"] == [head for head, _ in words.COMPARED] + ["following"]


def test_what_test_says_chooses_nothing(sweep: Path) -> None:
    for name, margin, on_test in (("a", 0.3, 0.0), ("b", 0.25, 0.9)):
        written = write_ranked(sweep / name, margin, {"test": {"five_cat": scores("test", graded("val", on_test))}})
        assert written.value("test", "A/margin") == on_test
    entries = leaderboard.read(sweep)
    assert [entry.name for entry in leaderboard.ranked(entries)] == ["a", "b"]
    assert [entry.name for entry in leaderboard.best_architectures(entries, 1)] == ["a"]
    written = entries[1].result
    assert written is not None
    assert objective.of_result("margin", written) == 0.25


def test_few_documents_of_val_are_no_verdict_and_never_the_best(sweep: Path) -> None:
    val = scores("val", graded("val", 0.4)) | {"documents": 19}
    write_ranked(sweep / "few", 0.4, {"val": {"five_cat": val}})
    (entry,) = leaderboard.read(sweep)
    assert (entry.passes, entry.few_documents) == (None, True)
    report.write(sweep, sweep)
    assert csv_rows(sweep)["few"]["preset"] == "null"
    assert page_data(sweep)["best"] is None


def test_nothing_is_best_where_nothing_passes(sweep: Path) -> None:
    write_ranked(sweep / "weak", 0.05)
    report.write(sweep, sweep)
    assert page_data(sweep)["best"] is None
    text = (sweep / "leaderboard.md").read_text()
    assert "None is best" in text
    assert "★" not in text


def test_seeds_are_one_group_and_other_settings_another(sweep: Path) -> None:
    margins = [0.2, 0.25, 0.4]
    for seed, margin in enumerate(margins):
        write_ranked(sweep / f"gru-s{seed}", margin, seed=seed)
    write_ranked(sweep / "lstm", 0.3, arch="lstm")
    write_ranked(sweep / "longer", 0.3, epochs=5)
    other = {"identity": {"fingerprint": "0" * 64, "content": {"planted": "d" * 64}}}
    write_ranked(sweep / "other-data", 0.3, **other)
    write_table(sweep, ["missing-1", "missing-2"])
    report.write(sweep, sweep)
    data = page_data(sweep)
    names = [run["name"] for run in data["runs"]]
    found = {group["name"]: group for group in data["groups"]}
    assert len(found) == 6
    together = found["gru-s (3 seeds)"]
    assert [names[i] for i in together["members"]] == ["gru-s0", "gru-s1", "gru-s2"]
    mean, deviation, count = together["numbers"]["A/margin"]
    assert (mean, count) == (pytest.approx(statistics.fmean(margins), rel=1e-4), 3)
    assert deviation == pytest.approx(statistics.stdev(margins), rel=1e-4)
    assert found["lstm"]["numbers"]["A/margin"][1:] == [None, 1]
    assert together["numbers"]["E"][0] == 0.0
    assert "seed" not in together["numbers"]
    (line,) = (x for x in (sweep / "leaderboard.md").read_text().splitlines() if "3 seeds" in x)
    assert f"{statistics.fmean(margins):.3f} ± {statistics.stdev(margins):.3f}" in line
    assert "3/3" in line


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan])
def test_a_seed_without_a_finite_number_is_damaged_and_the_others_stand(sweep: Path, seconds: float) -> None:
    for seed in range(3):
        write_ranked(sweep / f"gru-s{seed}", seed=seed)
    file = sweep / "gru-s2" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": seconds}))
    report.write(sweep, sweep)
    rows = csv_rows(sweep)
    assert (rows["gru-s1"]["status"], rows["gru-s2"]["status"]) == ("finished", "damaged")
    assert f"result.json is no result of lvm_lab (seconds is {seconds}" in rows["gru-s2"]["error"]


@pytest.mark.parametrize("seconds", [(1.7e308, 1.7e308), (1.7e308, -1.7e308), (5e-324, 1e308)])
def test_the_largest_numbers_of_seeds_have_a_mean(sweep: Path, seconds: tuple[float, float]) -> None:
    for seed, value in enumerate(seconds):
        write_ranked(sweep / f"gru-s{seed}", changes={"seconds": value}, seed=seed)
    report.write(sweep, sweep)
    (group,) = page_data(sweep)["groups"]
    mean, _, count = group["numbers"]["seconds"]
    assert (mean, count) == (pytest.approx(seconds[0] / 2 + seconds[1] / 2, rel=1e-4), 2)


def test_texts_of_runs_end_no_script_and_no_cell(sweep: Path) -> None:
    name = "evil<b>|run"
    write_ranked(sweep / name, None, {"status": "failed", "error": EVIL}, **{EVIL: {"</script>": "</script>"}})
    write_ranked(sweep / "sum", None, {"status": "failed", "error": "=1+1"})
    report.write(sweep, sweep)
    text = (sweep / "index.html").read_text()
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "<!-- a" not in text
    assert page_data(sweep)["runs"][0]["error"] == EVIL
    assert csv_rows(sweep)[name]["error"] == EVIL
    assert csv_rows(sweep)["sum"]["error"] == "'=1+1"
    written = (sweep / "leaderboard.md").read_text()
    assert "<" not in written
    assert "evil&lt;b&gt;\\|run" in written
    widths = {len(x.replace("\\|", "").split("|")) for x in written.splitlines() if x.startswith("|")}
    assert len(widths) == 1


def test_keys_are_escaped_too() -> None:
    found = {"</script><script>alert(1)": ["<!--", float("nan"), {"<": 1 / 3}]}
    text = embedded(found)
    assert "<" not in text
    assert json.loads(text) == {"</script><script>alert(1)": ["<!--", None, {"<": 0.33333}]}


def test_it_lives_without_skill_and_baselines(sweep: Path) -> None:
    write_ranked(sweep / "old", 0.2, {"baselines": {}, "skill": {}})
    write_ranked(sweep / "off", None)
    report.write(sweep, sweep)
    table = csv_rows(sweep)
    assert table["old"]["skill/A/cos"] == ""
    assert table["off"]["place"] == ""
    assert float(table["old"]["A/margin"]) == 0.2


def test_links_lead_from_the_page_to_what_is_there(sweep: Path, tmp_path: Path) -> None:
    write_ranked(sweep / "a run #1", 0.2)
    (sweep / "a run #1" / "plots").mkdir()
    (sweep / "a run #1" / "plots" / "offsets.png").write_bytes(b"png")
    out = tmp_path / "elsewhere" / "deep"
    report.write(sweep, out)
    links = dict(page_data(out)["runs"][0]["links"])
    assert set(links) == {"offsets.png", "result.json", "config.yaml", "history.jsonl"}
    assert "#" not in links["offsets.png"]
    for address in links.values():
        assert (out / unquote(address)).is_file()


def test_bad_input_is_one_sentence(tmp_path: Path, sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    write_ranked(sweep / "run", 0.2)
    before = tree(tmp_path)
    assert "no folder" in refused(capsys, tmp_path / "nowhere")
    assert "no folder" in refused(capsys, tmp_path / "file")
    assert "holds no folder of a run" in refused(capsys, tmp_path / "empty")
    assert f"it is a run's own; name {sweep}" in refused(capsys, sweep / "run")
    assert "choose another --out" in refused(capsys, sweep, "--out", tmp_path / "file")
    assert "choose another --out" in refused(capsys, sweep, "--out", tmp_path / "file" / "under")
    assert tree(tmp_path) == before


def test_files_are_whole_or_as_they_were(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ranked(sweep / "run", 0.2)
    report.write(sweep, sweep)
    before = {name: (sweep / name).read_text() for name in FILES}
    write_ranked(sweep / "second", 0.3)

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(runs.os, "replace", broken)
        with pytest.raises(OSError, match="No space"):
            report.write(sweep, sweep)
    assert {name: (sweep / name).read_text() for name in FILES} == before
    assert not list(sweep.glob(".*"))


def test_a_page_carries_all_that_it_needs(sweep: Path) -> None:
    write_ranked(sweep / "run", 0.2)
    report.write(sweep, sweep)
    text = (sweep / "index.html").read_text()
    assert "{{" not in text
    for word in ("http://", "https://", " src=", "@import", "url("):
        assert word not in text.replace("http://www.w3.org/2000/svg", ""), word
    assert "default-src 'none'" in text


def test_no_torch_is_imported(sweep: Path) -> None:
    write_ranked(sweep / "run", 0.2)
    script = (
        "import sys; from lvm_lab.report import main; main([sys.argv[1]])\n"
        "assert not {'torch', 'pytorch_lightning', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(sweep)], env=os.environ | ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(sweep / name) for name in FILES]
    shown = subprocess.run(
        [sys.executable, "-m", "lvm_lab.report", "--help"], env=os.environ | ENVIRONMENT, capture_output=True, text=True
    )
    assert shown.returncode == 0
    assert "--out" in shown.stdout


@pytest.mark.slow
def test_a_plain_multirun_that_really_trained(tmp_path: Path) -> None:
    done = call(tmp_path, "-m", *TINY, "trainer.max_epochs=1", "seed=1,2")
    assert done.code == 0, done.err
    folder = tmp_path / "multirun" / "adhoc"
    assert main([str(folder)]) == 0
    table = csv_rows(folder)
    assert len(table) == 2
    for name, row in table.items():
        result = reading.read(folder / name).result
        assert result is not None
        assert float(row["A/margin"]) == result.value("val", "A/margin")
        assert float(row["throughput"]) > 0
        # A plain multirun has no weeks.
        empty = {key for key, cell in row.items() if cell == ""}
        none = {"week", "place", "error", "strategy", "following/mrr"}
        assert empty <= none | {key for key in row if key.startswith("skill/")}
    (group,) = page_data(folder)["groups"]
    assert len(group["members"]) == 2
    run = page_data(folder)["runs"][0]
    assert [gate["letter"] for gate in run["gates"]] == list("ABCDE")
    assert [point[0] for point in run["offsets"]["val"]] == [-3, -2, -1, 0, 1, 2, 3]
    assert len(run["offsets"]["copy_last"]) == 7
    assert {row["name"] for row in run["baselines"]["rows"]} >= {"gru", "copy-last", "ridge"}


@pytest.mark.parametrize("name", ["config.yaml", "result.json", "history.jsonl", "moments.npz", "train.log"])
def test_a_pipe_among_a_runs_files_is_not_waited_for(tmp_path: Path, name: str) -> None:
    """In a process of its own, which is ended where it waits."""
    run = run_files.write_run(tmp_path / "sweep" / "run")
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    code = (
        "import sys; from lvm_lab import card, report, status; "
        "sys.exit(max(card.main([sys.argv[1] + '/run']), report.main([sys.argv[1]]), status.main([sys.argv[1]])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "sweep")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == (0 if name in ("history.jsonl", "train.log") else 2), done.stderr
    assert "Traceback" not in done.stderr
    assert name in done.stderr or done.returncode == 0
    assert (tmp_path / "sweep" / "index.html").is_file()
