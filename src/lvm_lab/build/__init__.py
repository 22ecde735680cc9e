"""From a typed config to parts of data and a model, and from a checkpoint back to a model."""
