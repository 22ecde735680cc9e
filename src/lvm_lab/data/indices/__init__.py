"""Kinds of index over a store's vectors, one a file: the option of `lvm-lab index` by the file's stem."""
