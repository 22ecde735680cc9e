"""Figures of a run from its files alone: `lvm-lab plots RUN...`; no torch, and matplotlib only to draw."""

from __future__ import annotations

FIGURES = {
    "offsets": "Cosine of the prediction and the vector at each offset, with 95% intervals (gate A)",
    "retrieval": "R@k of the target within its document, with and without the context's chunks (gate B)",
    "rollout": "Cosine of predictions fed back, by step (gate D)",
    "coherence": "Mean cosine by the coherence of the context (gate E)",
    "moments": "Mean and std of raw against the encoder's, a point a dimension",
    "training": "Every part of the loss, its share of the gradient, and 5CAT's margin, by epoch",
}
