"""Train, judge and record one latent vector model: `lvm-lab train arch=mamba2 loss=infonce`."""

from __future__ import annotations

from lvm_lab.commands import launch
from lvm_lab.jobs.training import trial
from lvm_lab.jobs.weighing import Weigher
from lvm_lab.training import devices


def main() -> None:
    # Also where Lightning starts this command again, for another device.
    launch.find_packages_here()
    devices.follow(trial)
    launch.launch("train", trial, runs_schedules=True, weigh=Weigher())


if __name__ == "__main__":
    main()
