"""The server: models behind HTTP, asked in batches. What it serves is opened by `lvm_lab.jobs.serving`."""
