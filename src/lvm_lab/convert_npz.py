"""A store from a trusted `.npz` with pickles: `python -m lvm_lab.convert_npz IN.npz OUT_FOLDER --trust-pickle`."""

from __future__ import annotations

import sys

from lvm_lab.data.importers.convert import main

if __name__ == "__main__":
    sys.exit(main())
