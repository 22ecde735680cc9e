"""Strategies: what a training does otherwise than go through all its windows with one loss, one a file."""
