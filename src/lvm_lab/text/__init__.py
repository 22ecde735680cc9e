"""Text at the edges: chunkers, encoders with their contract, decoders (to come)."""
