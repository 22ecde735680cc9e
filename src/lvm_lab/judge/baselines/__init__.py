"""Predictors that a model has to beat before it is called one, a file each; this list is free of torch."""

from __future__ import annotations

from lvm_lab.config.presets import Preset
from lvm_lab.judge import options

# The file of each, in the order of tables, and what it is called there.
TITLES = {
    "random": "random",
    "global_mean": "global mean",
    "copy_last": "copy-last",
    "mean_of_context": "mean-of-context",
    "exponential": "exponential",
    "nearest": "nearest",
    "ridge": "ridge",
    "linear_metric": "linear metric",
    "oracle": "oracle",
}


def check(preset: Preset) -> None:
    """UserError for a baseline in five_cat.baselines that does not exist or does not take its arguments."""
    for place, entry in enumerate([] if isinstance(preset.baselines, str) else preset.baselines):
        if isinstance(entry, str):
            options.check_stem(__name__, entry, "five_cat.baselines")
        else:
            options.by_target(entry, "judge.baselines", f"five_cat.baselines.{place}", "fit", ("data",))
