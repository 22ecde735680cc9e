"""What architectures and heads are made of: attention, recurrence, state spaces, residual blocks, normaliser."""
