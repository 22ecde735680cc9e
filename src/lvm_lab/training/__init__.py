"""The Lightning room: the module around a model, its batches, trainer, devices and callbacks."""
