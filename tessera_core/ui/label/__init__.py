"""The page Label: the map, and what is told and offered beside it."""
