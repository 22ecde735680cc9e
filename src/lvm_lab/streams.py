"""The streams that a command was started with, also where nobody reads them or they were closed."""

from __future__ import annotations

import io
import os
import sys


def open_closed() -> None:
    """Give a command whose stdout or stderr was closed one that goes nowhere: Python has None there.

    Otherwise the next file to be opened would be what libraries print into.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def reader_has_left() -> None:
    """Whoever reads the output, such as `head`, has seen enough: what is left to be flushed goes nowhere."""
    try:
        descriptors = [sys.stdout.fileno()]
        # `2>&1 | head` closes both at once.
        if os.path.sameopenfile(descriptors[0], sys.stderr.fileno()):
            descriptors.append(sys.stderr.fileno())
    except io.UnsupportedOperation:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
