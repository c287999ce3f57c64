"""Which datasets of TESSERA embeddings are published, as the installed geotessera knows them."""

from __future__ import annotations

from dataclasses import dataclass

from tessera_core.errors import InputError
from tessera_core.sources.remote.geotessera_private import version_parts
from tessera_core.sources.remote.hemispheres import is_repository, pinned


@dataclass(frozen=True)
class Dataset:
    """A published run of a TESSERA model; vectors of two datasets never mix.

    Attributes:
        name: ``"1.1/dclimate"``.
        version, variant: the parts of the name.
        location: of its store, Zarr where there is one, else Icechunk.
        tiles: its folder among the published NPY tiles, or empty.
        description: as its publisher puts it.
        default: whether it is the one to take when nothing speaks for another.
        icechunk: of its Icechunk repository, whose snapshots can be named; empty where there is none.
        registry: of its list of tiles (:mod:`tessera_core.sources.remote.tile_list`), or empty.
    """

    name: str
    version: str
    variant: str
    location: str
    tiles: str
    description: str
    default: bool
    icechunk: str = ""
    registry: str = ""

    @property
    def tells_water(self) -> bool:
        """Whether water can be told from land in it; the global run, which comes with a list of tiles, has no class for it."""
        return not self.registry

    def at(self, snapshot: str) -> str:
        """The location to read: its store, or one snapshot of its repository.

        Raises:
            InputError: it has no repository with snapshots.
        """
        if not snapshot:
            return self.location
        repository = self.icechunk or (self.location if is_repository(self.location) else "")
        if not repository:
            raise InputError(f"{self.name} has no snapshots: it is no Icechunk repository. Leave the snapshot away.")
        return pinned(repository, snapshot)


def datasets() -> list[Dataset]:
    """The datasets that the installed geotessera knows, the default first."""
    from geotessera import registry

    default = version_parts(registry.DEFAULT_VERSION)[1]
    known = []
    for entry in registry.DATASETS:
        first = entry.version == default and entry.variant == registry.default_variant(default, "stream")
        known.append(
            Dataset(
                f"{entry.version}/{entry.variant}",
                entry.version,
                entry.variant,
                registry.zarr_store_url(entry.version, entry.variant) if entry.zarr or entry.icechunk else "",
                entry.npy or "",
                entry.description,
                first,
                entry.icechunk or "",
                entry.tile_registry or "",
            )
        )
    return sorted(known, key=lambda dataset: not dataset.default)


def dataset_named(name: str) -> Dataset:
    """The dataset of that name; ``"1.1"`` alone means the default variant of that version.

    Raises:
        InputError: there is none.
    """
    wanted = name.strip().removeprefix("v")
    known = datasets()
    for dataset in known:
        if wanted in (dataset.name, f"{dataset.version}-{dataset.variant}", dataset.version):
            return dataset
    raise InputError(f"There is no dataset {name!r}; known are {', '.join(dataset.name for dataset in known)}.")
