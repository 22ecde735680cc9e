"""The plain model."""
