"""What happens beside the training steps, one callback a file."""
