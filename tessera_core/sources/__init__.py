"""Readers: from the layouts in which embeddings come to an :class:`~tessera_core.raster.EmbeddingRaster`.

Nothing here knows what embeddings are used for. Reads are memory-mapped; whatever must be converted is converted block by block
into a memory-mapped copy in the cache, so no region is ever held whole as float32.
"""
