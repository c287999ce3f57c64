"""JavaScript of the page around the components."""
