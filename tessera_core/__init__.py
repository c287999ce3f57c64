"""Tessera Studio's core: from satellite time series or published embeddings to a map that can be trusted.

The package's floors and conventions are described in ``docs/architecture.md``.
"""

__version__ = "0.1.0"
