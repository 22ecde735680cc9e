"""Facts of judging that are no setting: edges and smallest numbers, shared by judge, jobs and reports; no torch."""

# Std of raw over the encoder's, the median over dimensions: between these a decoder gets what it was made for.
STD_RATIO = (0.8, 1.25)
# Coherence of a context (mean cosine of adjacent vectors): gate E's normal bin, its edges included.
NORMAL = (0.45, 0.55)
# The data gate: a corpus's mean coherence, and cos(last, target) - cos(first, target), are at least these.
DATA_COHERENCE = 0.40
DATA_SIGNAL = 0.08
# Documents judged in a part: with fewer, 5CAT's verdict is undecided.
DOCUMENTS_FOR_VERDICT = 20
# With fewer, a report is cross-fitted over folds.
DOCUMENTS_FOR_REPORT = 200
# Documents of a part: of fewer, 95% intervals are too wide to say anything (t of 3 degrees of freedom and fewer).
DOCUMENTS_FOR_INTERVAL = 5
