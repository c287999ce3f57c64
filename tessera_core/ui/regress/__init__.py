"""The page for labels that are numbers."""
