"""Embeddings published elsewhere: found, fetched and kept."""
