"""The six tasks that the TESSERA paper judges embeddings by, on data in the published folder layouts.

A task is a reader of its layout, the published way to divide the labels, a head, scores, and the numbers that were published;
``framework`` is what all share, ``tasks`` lists them. Knows embeddings in files; refuses to know how they were made.
"""

# Names of the tasks, without what computes them, for a command line that starts quickly.
NAMES = ("austrian-crops", "tree-species", "pastis", "biomass", "canopy-height", "burned-area")

__all__ = ["NAMES"]
