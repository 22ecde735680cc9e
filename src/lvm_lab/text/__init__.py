"""Text at the edge: readers give documents, chunkers cut them, encoders make vectors, decoders make texts again."""
