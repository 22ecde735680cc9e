"""Whether a model collapses, copies or leaves the scale: `python -m lvm_lab.diagnose RUN_OR_CHECKPOINT`."""

from __future__ import annotations

import sys

from lvm_lab.jobs.diagnose import main

if __name__ == "__main__":
    sys.exit(main())
