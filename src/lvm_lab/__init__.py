"""lvm_lab: a declarative experiment framework for latent vector models."""

__version__ = "0.1.0"
