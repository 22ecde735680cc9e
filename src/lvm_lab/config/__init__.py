"""Settings: config nodes held against types and signatures, with neither torch nor Hydra."""
