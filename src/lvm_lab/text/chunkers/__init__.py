"""How a document is cut into chunks, one way a file."""
