"""What every part of the page Explore looks at: the open project, its years, the year in sight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tessera_core.project.home import RecentProject, recent_projects
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.ui import state
from tessera_core.ui.frame import PageContext
from tessera_core.ui.scene import OpenScene

# Address of the page, and key of its map.
PAGE, MAP = "explore", "explore_map"


@dataclass(frozen=True)
class ExploreContext(PageContext):
    """The region as the page sees it in one run.

    Attributes:
        year: being looked at.
        scenes: of all loaded years; their arrays are memory-mapped.
    """

    page: ClassVar[str] = PAGE
    year: int | None
    scenes: dict[int | None, OpenScene]

    @classmethod
    def of(cls, project: Project) -> ExploreContext:
        """Open all years of a project.

        Raises:
            TesseraError: embeddings are gone or cannot be read.
        """
        years = sorted(project.embeddings, key=lambda year: year or 0)
        return cls(project, state.current_year(project), {year: state.scene_for(project, year) for year in years})

    @property
    def scene(self) -> OpenScene:
        """Of the year in sight."""
        return self.scenes[self.year]

    @property
    def rasters(self) -> dict[int | None, EmbeddingRaster]:
        """Embeddings of all years."""
        return {year: scene.raster for year, scene in self.scenes.items()}

    @property
    def content(self) -> tuple[str, ...]:
        """Names the embeddings of all years; changes with them."""
        return tuple(f"{year} {scene.key}" for year, scene in self.scenes.items())

    def others(self) -> list[RecentProject]:
        """Other regions of the same dataset, last changed first; none on a server for strangers."""
        if state.hosted():
            return []
        here = self.project.folder.resolve()
        return [e for e in recent_projects(100) if e.dataset == self.project.dataset and e.folder.resolve() != here]
