"""Fenced blocks of the documents: their language, their commands, the file that one is of, and why it is not run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- parsed only: (?P<reason>.+?) -->\n+)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
INLINE = re.compile(r"(?<!`)`((?:lvm-|python -m lvm_lab)[^`]+)`(?!`)")
HEAD = re.compile(r"# (?P<file>[\w./]+\.(?:py|yaml))\b.*\n")
# What reads a line that is typed: `.venv/bin/python -m lvm_lab.train` is `lvm-lab train` too.
SPELLINGS = (
    (re.compile(r"(?:\S*/)?python -m lvm_lab\.(\w+)"), r"lvm-lab \1"),
    (re.compile(r"\blvm-(train|evaluate)\b"), r"lvm-lab \1"),
)


@dataclass(frozen=True)
class Block:
    """reason: why its commands are parsed and not run; None where they run."""

    document: str
    line: int
    language: str
    text: str
    reason: str | None

    @property
    def place(self) -> str:
        return f"{self.document}, line {self.line}"

    @property
    def file(self) -> str | None:
        """The file that a block is of, which its first line names in a comment."""
        head = HEAD.match(self.text)
        return head["file"] if head and self.language in ("python", "yaml") else None

    def lines(self) -> list[str]:
        """The commands of a block, one a line."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in joined.splitlines() if shlex.split(line, comments=True)]


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    name = str(document.relative_to(ROOT))
    assert len(FENCE.findall(text)) * 2 == len(re.findall(r"^```", text, re.MULTILINE)), f"{name}: a fence is left open"
    return [
        Block(name, text[: m.start("text")].count("\n"), m["language"], m["text"], m["reason"])
        for m in FENCE.finditer(text)
    ]


def inline_commands(document: Path) -> list[str]:
    """The lab's commands between words, whose RUN and FILE stand for a reader's own."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    return [" ".join(match.split()) for match in INLINE.findall(text)]


def commands(line: str) -> list[list[str]]:
    """A line's commands, each in words, as a shell would have them; the lab's all begin with `lvm-lab`."""
    for pattern, spelling in SPELLINGS:
        line = pattern.sub(spelling, line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    parts: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("&|;"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]
