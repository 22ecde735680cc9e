"""Everything that is shown of runs: words and number formats, tables, cards, plots, the page; no torch."""
