"""How a command line is read: Hydra's composition and plain arguments, and one sentence for every mistake."""
