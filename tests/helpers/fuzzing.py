"""Damaged files and odd settings, drawn by hypothesis, and what a command may answer to them."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from hypothesis import strategies as st

from lvm_lab.commands import plain

Draw = Callable[[Any], Any]
# Values of every type, at the edges of their types; sizes in between are left out, since they only take long.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 2**31, 2**63, -(2**63), 10**30),
    *(0.0, 1.5, -0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", "é", "\x00", "\udcff", "a/b", "../x", "/dev/zero", "null", "3", "[", "${x}", "x" * 5000),
    *([], [0], ["x"], [None], [[]], {}, {"a": 1}, {"_target_": "os.system"}, {1: 2}),
    *("os.system", "lvm_lab.logs.logging.FileHandler", "lvm_lab.archs.gru.GRU", "nowhere.X"),
)
# A busy machine may be slow; what waits for a pipe waits for ever.
HANGS_AFTER = 600
COUNTS: Counter[tuple[str, str]] = Counter()


def answered(kind: str, body: Callable[[], object], way: Callable[..., int] = plain.answer) -> int:
    """The exit code of `body` as a command answers for it: 0, or 2 with a sentence; anything else raises."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _not_forever():
        try:
            code = way(body)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    COUNTS[kind, {0: "done", 2: "refused"}.get(code, f"code {code}")] += 1
    assert code in (0, plain.MISTAKE), (code, err.getvalue())
    if code:
        assert any("error: " in line for line in err.getvalue().splitlines()), err.getvalue()
        assert "Traceback" not in err.getvalue()
    return code


@contextlib.contextmanager
def _not_forever() -> Iterator[None]:
    def hangs(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANGS_AFTER)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def content(folder: Path) -> dict[str, object]:
    """Everything below a folder: bytes of files, targets of links, kinds of the rest."""
    return {str(item.relative_to(folder)): _content(item) for item in sorted(folder.rglob("*"))}


def _content(item: Path) -> object:
    if item.is_symlink():
        return f"link to {os.readlink(item)}"
    return item.read_bytes() if item.is_file() else "folder" if item.is_dir() else "pipe"


def spoil(draw: Draw, file: Path, structured: bool = True) -> None:
    """Damage a file: as a thing on the disk, in its bytes, or in what they mean."""
    ways = {"absent": _absent, "thing": _thing, "bytes": _bytes} | ({"structure": _structure} if structured else {})
    ways[draw(st.sampled_from(sorted(ways, reverse=True)))](draw, file)


def _absent(draw: Draw, file: Path) -> None:
    file.unlink(missing_ok=True)


def _thing(draw: Draw, file: Path) -> None:
    """Another thing in the file's place: a folder, a pipe, a link to somewhere or nowhere."""
    file.unlink(missing_ok=True)
    thing = draw(st.sampled_from(["folder", "full folder", "pipe", "link", "link to nowhere", "link to itself"]))
    if "folder" in thing:
        file.mkdir()
        if thing == "full folder":
            (file / "dear").write_text("dear")
    elif thing == "pipe":
        os.mkfifo(file)
    else:
        targets = {"link": "/etc/hostname", "link to nowhere": "nowhere", "link to itself": file.name}
        file.symlink_to(targets[thing])


def _bytes(draw: Draw, file: Path) -> None:
    before = file.read_bytes() if file.is_file() else b""
    way = draw(st.sampled_from(["empty", "cut", "zeroed", "flipped", "binary", "longer", "text"]))
    at = draw(st.integers(0, max(0, len(before) - 1)))
    rubbish = draw(st.binary(max_size=64))
    flipped = bytearray(before)
    for place in draw(st.lists(st.integers(0, max(0, len(before) - 1)), max_size=8)) if before else []:
        flipped[place] ^= 1 << draw(st.integers(0, 7))
    after = {
        "empty": b"",
        "cut": before[:at],
        "zeroed": bytes(len(before)),
        "flipped": bytes(flipped),
        "binary": rubbish,
        "longer": before + rubbish,
        "text": draw(st.text(max_size=64)).encode("utf-8", "surrogatepass"),
    }
    file.write_bytes(after[way])


def _structure(draw: Draw, file: Path) -> None:
    """A key taken away, or a value of another type."""
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in changed(draw, rows)))
    elif file.suffix == ".json":
        file.write_text(json.dumps(changed(draw, json.loads(file.read_text())), default=str))
    elif file.suffix == ".yaml":
        text = yaml.safe_dump(changed(draw, yaml.safe_load(file.read_text())), allow_unicode=True)
        file.write_text(text, errors="surrogatepass")
    elif file.suffix == ".ckpt" and file.stat().st_size:
        torch.save(changed(draw, torch.load(file, weights_only=True)), file)


def changed(draw: Draw, node: Any, values: tuple[Any, ...] = VALUES) -> Any:
    """A copy of a nested thing in which up to three keys are gone or hold another value."""
    node = copy.deepcopy(node)
    for _ in range(draw(st.integers(1, 3))):
        places = sorted(_places(node), key=len)
        if not places:
            return node
        *path, last = draw(st.sampled_from(places))
        holder = node
        for key in path:
            holder = holder[key]
        if draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = draw(st.sampled_from(values))
    return node


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _places(value, (*path, key))


def arrays(draw: Draw) -> dict[str, np.ndarray]:
    """What a file of vectors might hold: names, shapes and types near to the right ones, or not."""
    documents = draw(st.integers(30, 32) | st.integers(0, 3))
    lengths = [draw(st.sampled_from([8, 7, 0, 1])) if i < 2 else 8 for i in range(documents)]
    dim = draw(st.sampled_from([8, 1, 0, 3]))
    rows = sum(lengths)
    scale = draw(st.sampled_from([1.0, 0.0, 1e-30, 1e25, 1e300, float("nan"), float("inf")]))
    vectors = np.random.default_rng(0).standard_normal((rows, dim)) * scale
    ids, chunks = np.repeat(np.arange(documents), lengths), np.concatenate([np.arange(n) for n in [*lengths, 0]])
    bank = {"vectors": vectors, "article_indices": ids, "chunk_indices": chunks}
    contexts = np.repeat(vectors[:, None], 5, axis=1)
    windows = {"contexts": contexts, "targets": vectors, "article_ids": ids, "target_indices": chunks}
    node: dict[str, np.ndarray] = dict(draw(st.sampled_from([bank, windows])))
    for name in draw(st.lists(st.sampled_from(sorted(node)), max_size=1)):
        del node[name]
    for name in draw(st.lists(st.sampled_from(sorted(node)), max_size=2, unique=True)):
        kind = draw(st.sampled_from(["<f4", "<f2", "i8", "U3", "?", "c8", "M8[s]", "flat", "cut", "0-d", "deep"]))
        x = node[name]
        with np.errstate(all="ignore"):
            if kind == "flat":
                node[name] = x.reshape(-1)
            elif kind == "cut":
                node[name] = x[: len(x) // 2]
            elif kind == "0-d":
                node[name] = np.array(1.0)
            elif kind == "deep":
                node[name] = x[None]
            elif kind == "M8[s]":
                node[name] = np.zeros(x.shape, "M8[s]")
            else:
                node[name] = x.astype(kind)
    return node
