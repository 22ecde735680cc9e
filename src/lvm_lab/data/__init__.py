"""Vectors at rest, windows over them, and what feeds them to training."""
