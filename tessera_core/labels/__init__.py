"""Labelled geometry: classes and labels, the append-only log of what a person did, and the pixels that labels cover.

Labels live in the coordinates of the project's grid and know nothing of embeddings or heads.
"""
