"""Models and the baselines that they have to beat, scored on one data set: the one path of training and evaluate."""
