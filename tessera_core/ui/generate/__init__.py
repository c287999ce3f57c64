"""The page Make embeddings."""
