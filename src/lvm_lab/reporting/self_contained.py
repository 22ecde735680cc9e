"""A page in one file: style and script stand in it, allowed by their digests, and nothing comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files


def joined(package: str, names: Sequence[str]) -> str:
    """Files of a package, one behind the other."""
    return "\n".join((files(package) / name).read_text(encoding="utf-8") for name in names)


def filled(template: str, slots: Mapping[str, str]) -> str:
    """A template with its {{slots}} filled in one pass, so that nothing that was put in is looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: slots[slot[1]], template)


def policy(style: str, script: str) -> str:
    """A Content-Security-Policy under which these two alone work, https://www.w3.org/TR/CSP3/."""
    return f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
