"""Heads turn a backbone's hidden states into predictions. One a file; file stem = config option."""
