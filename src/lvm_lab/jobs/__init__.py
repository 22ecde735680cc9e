"""The body of each command, callable from a test, a notebook or a server."""
