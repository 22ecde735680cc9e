"""Pure functions of a predictor and windows that return numbers; they know no trainer and no Hydra."""
