"""The figures of runs, drawn again: `python -m lvm_lab.plots RUN...`."""

from __future__ import annotations

import sys

from lvm_lab.reporting.plots.command import main

if __name__ == "__main__":
    sys.exit(main())
