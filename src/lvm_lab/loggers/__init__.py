"""Where a run is shown besides its folder, one logger a file; the folder stays the truth."""
