"""The page Region."""
