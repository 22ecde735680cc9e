"""Predictors that a model has to beat before it is called one, a file each."""

from lvm_lab.judge.baselines._fitting import TRAINING_WINDOWS, load_arrays, training_sample
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.exponential import DECAYS, ExponentialContext, fit_exponential
from lvm_lab.judge.baselines.global_mean import GlobalMean
from lvm_lab.judge.baselines.mean_of_context import MeanOfContext
from lvm_lab.judge.baselines.nearest import NearestNeighbour
from lvm_lab.judge.baselines.random import Random
from lvm_lab.judge.baselines.ridge import PENALTIES, Ridge, fit_ridge

__all__ = [
    "DECAYS",
    "PENALTIES",
    "TRAINING_WINDOWS",
    "CopyLast",
    "ExponentialContext",
    "GlobalMean",
    "MeanOfContext",
    "NearestNeighbour",
    "Random",
    "Ridge",
    "fit_exponential",
    "fit_ridge",
    "load_arrays",
    "training_sample",
]
