"""One model on one data set: every number, beside the fitted baselines."""
