"""Work handed to other processes and machines by Dask's scheduler, which is known in this room alone.

Everything else takes any executor with ``submit`` (:func:`tessera_core._utils.spread.spread`). Only names and paths travel: the
workers see the same folders, on a disk that all share, and what is done is what lies there.
"""

from tessera_core.cluster.engine import Engine, connect

__all__ = ["Engine", "connect"]
