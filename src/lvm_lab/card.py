"""The model cards of runs, written again: `python -m lvm_lab.card RUN...`."""

from __future__ import annotations

import sys

from lvm_lab.reporting.card import main

if __name__ == "__main__":
    sys.exit(main())
