"""Where documents come from, one kind of place a file."""
