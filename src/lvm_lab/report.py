"""The leaderboard of a folder of runs: `python -m lvm_lab.report multirun/hundred`."""

from __future__ import annotations

from lvm_lab.reporting.board.write import main

if __name__ == "__main__":
    main()
