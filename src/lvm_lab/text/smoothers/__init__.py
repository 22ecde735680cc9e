"""Smoothers, one a file: the stem is the option's name."""
