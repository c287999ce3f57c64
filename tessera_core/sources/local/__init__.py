"""Embeddings that lie on this computer."""
