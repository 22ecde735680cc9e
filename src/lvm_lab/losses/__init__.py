"""Loss terms, one a file; an option of conf/loss/ lists terms with their weights."""
