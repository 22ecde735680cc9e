"""From the files that people have to a store: one layout a file."""
