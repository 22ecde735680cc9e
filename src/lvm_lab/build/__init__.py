"""From typed settings to the parts of data and a model, and from a checkpoint back to a model."""
