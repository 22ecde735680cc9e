"""How a sweep stands, read from its folder while it runs: `python -m lvm_lab.status multirun/hundred`."""

from __future__ import annotations

from lvm_lab.reporting.status import main

if __name__ == "__main__":
    main()
