"""The page on which a text is tried."""
