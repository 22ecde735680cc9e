"""Backbones, one a file: the file's stem is the config option and the name in every table."""
