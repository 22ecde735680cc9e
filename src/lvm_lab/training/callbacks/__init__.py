"""What happens around the training steps, one callback a file; docs/callbacks.md has their order and how to add one."""
