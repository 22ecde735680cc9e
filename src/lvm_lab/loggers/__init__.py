"""Where a run is mirrored to, one logger a file; the run's folder stays the truth."""
