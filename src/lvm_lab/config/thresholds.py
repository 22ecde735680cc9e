"""Edges that the judge measures by and plots and cards tell of: numbers alone, free of torch."""

# Std of raw over the encoder's, the median over dimensions: between these a decoder gets what it was made for.
STD_RATIO = (0.8, 1.25)
# Coherence of a context (mean cosine of adjacent vectors): gate E's normal bin, its edges included.
NORMAL = (0.45, 0.55)
