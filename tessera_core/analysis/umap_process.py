"""The process in which umap-learn works for :mod:`tessera_core.analysis.umap_learn`; imports nothing heavy before it must."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np

__all__: list[str] = []


def _lay_out(job: str, result: str) -> None:
    """Lay out what the file ``job`` holds, and write the points float32 (N, n) to ``result``."""
    with np.load(job) as given:
        arrays = {name: given[name] for name in given.files}
    values, sizes = arrays["values"], arrays["sizes"].tolist()
    axes, neighbours, seed = arrays["settings"].tolist()
    settings = {"n_components": axes, "n_neighbors": neighbours, "random_state": seed, "verbose": True}
    import umap

    if len(sizes) == 1:
        model = umap.UMAP(n_jobs=1, **settings).fit(values, arrays.get("classes"))
        parts = [model.embedding_]
        if "also" in arrays:
            parts.append(model.transform(arrays["also"]))
    else:
        same = {place: place for place in range(sizes[0])}
        years = np.split(values, np.cumsum(sizes)[:-1])
        parts = list(umap.AlignedUMAP(**settings).fit(years, relations=[same] * (len(years) - 1)).embeddings_)
    points = np.concatenate([np.asarray(part, np.float32) for part in parts])
    # umap-learn gives NaN to a point that it finds linked with nothing; that lies in the middle, near nobody in particular.
    points[~np.isfinite(points).all(1)] = np.nanmean(points, axis=0)
    np.save(result, points - points.mean(0), allow_pickle=False)


def _end_with_the_parent() -> None:
    # The pipe is never written; it ends when the parent does.
    # Not sys.stdin: a thread that holds its lock would abort this process at its end.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(10)
    _lay_out(*sys.argv[1:3])
