"""Vectors looked at before anything is trained: `python -m lvm_lab.check_data data.path=FILE`."""

from __future__ import annotations

from lvm_lab.jobs.check_data import main

if __name__ == "__main__":
    main()
