"""Text at the edge: readers give documents, chunkers cut them, encoders make vectors of the chunks."""
