"""A run on disk: its fingerprint, folder, result and history; no torch."""
