"""W&B's page of comparison for mirrored runs: `python -m lvm_lab.wandb_dashboard --project P`."""

from __future__ import annotations

from lvm_lab.loggers.dashboard import main

if __name__ == "__main__":
    main()
