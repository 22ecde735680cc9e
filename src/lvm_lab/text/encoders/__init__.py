"""What makes vectors of chunks, one a file."""
