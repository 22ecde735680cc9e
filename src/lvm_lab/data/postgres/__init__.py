"""A PostgreSQL table of chunks: how it is reached, what its columns are, how vectors cross, how rows are written."""
