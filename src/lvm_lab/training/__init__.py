"""The Lightning room: the module around a model, its batches, trainer, devices and callbacks."""

from lvm_lab.training._torchmetrics import import_torchmetrics

# Before any module of the room imports Lightning.
import_torchmetrics()
