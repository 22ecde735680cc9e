"""From texts to a part of a store: blocks of documents, chunked, encoded, and kept until all are there."""
