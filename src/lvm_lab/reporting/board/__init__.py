"""Run folders to one table, as CSV, Markdown and a page that opens from disk: see docs/report.md; no torch."""
