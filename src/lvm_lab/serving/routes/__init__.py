"""What the server answers to, one subject a file."""
