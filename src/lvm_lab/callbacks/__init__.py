"""What happens beside the training steps, one class a file."""
