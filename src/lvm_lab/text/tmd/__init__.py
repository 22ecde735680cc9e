"""What gives chunks their TMD codes: one way a file."""
