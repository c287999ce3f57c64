"""Everything that labelling knows about one year of one project: the live map, what is known about it, and what was made of it.

Pure: knows no browser and no Streamlit. One desk serves all browser tabs, and lives as long as one of them does.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.errors import LabelError, TesseraError
from tessera_core.imagery.layers import nearest_picture
from tessera_core.labels.model import MAX_CLASS_ID, clean_name
from tessera_core.language import later
from tessera_core.project.classify import head_choice
from tessera_core.project.project import Project
from tessera_core.session import insight_protocol, layers
from tessera_core.session.assessor import Assessor, Insight, Question
from tessera_core.session.layers import ExtraLayer
from tessera_core.session.live_map import LiveMap
from tessera_core.session.reading import is_instant, next_step
from tessera_core.session.similar import SimilaritySearch, SimilarPixels, label_area
from tessera_core.types import BBox

if TYPE_CHECKING:
    from tessera_core.analysis.clusters import Clusters, ClusterTree
    from tessera_core.analysis.postprocess import PostProcessing
    from tessera_core.analysis.similarity import SimilarityIndex
    from tessera_core.assess.postprocess import PostProcessingScore
    from tessera_core.heads import HeadChoice
    from tessera_core.project.teaching import HeadHere

# Suggested places that are remembered, so that a label near one is known to answer it.
_SUGGESTIONS = 60


@dataclass(frozen=True)
class PostProcessed:
    """A cleaned map: how, of which labels and head, and whether it is better."""

    post_processing: PostProcessing
    version: int
    head: HeadChoice
    classes: NDArray[np.uint8]
    score: PostProcessingScore | None
    sentence: str


class LabelSession:
    """See the module.

    Args:
        live: the map that follows every label.
        index: makes or finds what answers which pixels are alike; None: made of the map's raster when first needed.
        place: key and path of the raster's files, so that another process can open them; None: it lies in memory only.

    Attributes:
        assessor: what is worked out beside it.
        similar: similarity search.
        groups: the last clustering, or None; a cut of a tree of groups.
        used: the clustering that was turned into labels last.
        post_processed: the last cleaned map, or None.
        given: what a head from elsewhere says of this year, or None.
    """

    def __init__(
        self,
        live: LiveMap,
        index: Callable[[], SimilarityIndex] | None = None,
        place: tuple[str, str] | None = None,
    ) -> None:
        self.live = live
        self.assessor = Assessor(live.raster, live.accept, live.set_temperature, place=place, on_rest=live.accept_rest)
        self.similar = SimilaritySearch(live.raster, index)
        self.clusters: Clusters | None = None
        self._cut: tuple[ClusterTree, int] | None = None
        self.used: Clusters | None = None
        self.post_processed: PostProcessed | None = None
        self.given: HeadHere | None = None
        self._pngs: dict[str, tuple[object, bytes, str]] = {}
        self._suggested: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._lock = threading.Lock()

    def cut_clusters(self, tree: ClusterTree, k: int) -> Clusters:
        """The groups to show: ``tree`` cut into ``k``; the same object while neither changes."""
        with self._lock:
            if self.clusters is None or self._cut is None or self._cut[0] is not tree or self._cut[1] != k:
                self.clusters, self._cut = tree.cut(k), (tree, k)
            return self.clusters

    @property
    def suggested_places(self) -> list[BBox]:
        """Boxes in the CRS of the labels around the places that were suggested last, three pixels wide."""
        with self._lock:
            places = list(self._suggested)
        grid, boxes = self.live.raster.grid, []
        for row, col in places:
            x, y = grid.pixel_to_xy([row - 1, row + 2, row - 1, row + 2], [col - 1, col - 1, col + 2, col + 2])
            boxes.append((float(x.min()), float(y.min()), float(x.max()), float(y.max())))
        return boxes

    def _note_suggestions(self, insight: Insight) -> None:
        # A tour goes on with the places it began with, whatever is suggested meanwhile.
        with self._lock:
            for query in insight.queries:
                self._suggested[query.row, query.col] = None
            while len(self._suggested) > _SUGGESTIONS:
                self._suggested.popitem(last=False)

    # ---------------------------------------------------------------- answers

    def answer(
        self,
        key: str,
        project: Project,
        state: insight_protocol.InsightState,
        run: int,
        opened: frozenset[str] = frozenset(),
    ) -> tuple[list[ExtraLayer], dict[str, Any]]:
        """Extra layers, and what to tell the page.

        Args:
            key: of the label map.
            state: what the page wants.
            run: grows with every answer.
            opened: panels that are open beside the map (``"groups"``, ``"tidy"``, ``"heads"``); what they made is on it as long.
        """
        head = head_choice(project)
        ready = not next_step(project.log)
        insight = self.assessor.ask(self._question(project, state, head)) if ready else Insight()
        self._note_suggestions(insight)
        found, problem = self._search(state)
        shown = self.extra_layers(project, state, insight if ready else Insight(), found, opened)
        header = insight_protocol.header(
            key,
            state,
            insight,
            self.live.display,
            shown,
            run=run,
            ready=ready,
            search=insight_protocol.SearchAnswer(found, problem, self.live.pixel_area),
        )
        header["stamp"] = self.live.stamp(project.log, head)
        header["error"] = round(100 * state.error)
        return shown, header

    def _question(self, project: Project, state: insight_protocol.InsightState, head: HeadChoice) -> Question:
        log = project.log
        return Question(
            log.version,
            head,
            tuple(log.labels),
            tuple(log.classes),
            state.skipped,
            state.dissimilarity,
            state.sets,
            state.error,
            not is_instant(head),
            nearest_picture(project.settings.base_layers, self.live.raster.provenance.year),
            self.live.large,
            self.live.temperature(head),
        )

    def _search(self, state: insight_protocol.InsightState) -> tuple[SimilarPixels | None, str]:
        if not state.positive:
            return None, "Mark at least one place that is an example." if state.negative else ""
        try:
            return self.similar.search(state.positive, state.negative), ""
        except TesseraError as error:
            return None, str(error)

    # ----------------------------------------------------------------- layers

    def extra_layers(
        self,
        project: Project,
        state: insight_protocol.InsightState,
        insight: Insight,
        found: SimilarPixels | None,
        opened: frozenset[str] = frozenset(),
    ) -> list[ExtraLayer]:
        """The layers above the class map that there are now, or that can be had; those of a panel while it is ``opened``."""
        display = self.live.display
        dissimilarity, sets = insight.dissimilarity, insight.sets
        result = []
        png, version = b"", ""
        if state.dissimilarity and dissimilarity is not None:
            png, version = self._png(
                "dissimilarity", dissimilarity, lambda: layers.dissimilarity_png(dissimilarity.percent, display)
            )
        sentence = dissimilarity.sentence if dissimilarity is not None else ""
        result.append(
            ExtraLayer(
                "dissimilarity", later("Unlike your labels"), png, version, sentence, layers.DISSIMILARITY_LEGEND
            )
        )
        png, version, sentence = b"", "", insight.rule.sentence if insight.rule is not None else ""
        if state.sets and sets is not None:
            png, version = self._png("sets", sets, lambda: layers.sets_png(sets.size, display))
            one = float((sets.size == 1).sum() / max(int((sets.size != 255).sum()), 1))
            sentence = f"{sentence} A single class remains on {percent(one)} % of the region."
        result.append(ExtraLayer("sets", later("Possible classes"), png, version, sentence, layers.SETS_LEGEND))
        if found is not None:
            png, version = self._png("similar", found, lambda: layers.percent_png(found.percent, display))
            result.append(ExtraLayer("similar", "Similar places", png, version, mode="percent"))
        groups = self.clusters
        if groups is not None and "groups" in opened:
            colours = layers.cluster_colours(len(groups.sizes))
            png, version = self._png("groups", groups, lambda: layers.classes_png(groups.labels, colours, display))
            used = "used" if self.used is groups else ""
            result.append(ExtraLayer("groups", "Groups", png, version + used, mode=used))
        post_processed = self.post_processed
        if (
            "tidy" in opened
            and post_processed is not None
            and (post_processed.version, post_processed.head)
            == (
                project.log.version,
                head_choice(project),
            )
        ):
            colours = {c.id: c.color for c in project.log.classes}
            png, version = self._png(
                "post_processed", post_processed, lambda: layers.classes_png(post_processed.classes, colours, display)
            )
            result.append(ExtraLayer("post_processed", later("Tidied map"), png, version, post_processed.sentence))
        given = self.given
        if given is not None and "heads" in opened:
            colours = {c.id: c.color for c in given.made.legend}
            png, version = self._png("given", given, lambda: layers.classes_png(given.made.classes, colours, display))
            legend = tuple((c.color, c.name) for c in given.made.legend)
            result.append(ExtraLayer("given", later("Map of a head"), png, version, given.name, legend))
        return result

    def _png(self, name: str, source: object, make: Any) -> tuple[bytes, str]:
        """The picture of a layer, made once for each ``source``, and what names it: another desk's same name means the same."""
        with self._lock:
            known = self._pngs.get(name)
            if known is None or known[0] is not source:
                png = make()
                known = self._pngs[name] = (source, png, hashlib.blake2b(png, digest_size=10).hexdigest())
            return known[1], known[2]

    # ---------------------------------------------------------------- actions

    def act(self, project: Project, op: Mapping[str, Any], state: insight_protocol.InsightState) -> str:
        """Do what the page asks for beside the map; returns a sentence about it.

        Raises:
            TesseraError: it cannot be done.
        """
        match op.get("do"):
            case "similar_labels":
                return self._label_similar(project, op, state)
            case "stop_map":
                self.assessor.cancel()
                return ""
            case other:
                raise LabelError(f"The page asked for {str(other)[:40]!r}, which this version does not know.")

    def _label_similar(self, project: Project, op: Mapping[str, Any], state: insight_protocol.InsightState) -> str:
        percent = insight_protocol.required(op, "percent", 1, 100)
        found, problem = self._search(state)
        if found is None:
            raise LabelError(problem or "Mark at least one place that is an example.")
        name = op.get("name")
        if "class" in op:
            name = project.log.label_class(insight_protocol.required(op, "class", 1, MAX_CLASS_ID)).name
        if not isinstance(name, str) or not clean_name(name):
            raise LabelError("Choose a class for these places, or type a new name.")
        area, note = found.similarity.above(percent), f"similar places, {percent} % alike or more"
        made = label_area(project.log, self.live.raster, [(area, clean_name(name))], note)
        return f"{made} places at least {percent:d} % alike are now labelled {clean_name(name)}. Undo takes them back."


class LabelSessions:
    """The desks of all who are here: one for each year of each project, kept while anybody sits at it.

    Args:
        each: at how many desks one person sits at most; the one used longest ago is left first.
    """

    def __init__(self, each: int = 6) -> None:
        self._each = each
        self._lock = threading.Lock()
        self._sessions: dict[Hashable, LabelSession] = {}
        self._seats: dict[str, dict[Hashable, None]] = {}

    def sit(self, who: str, key: Hashable, make: Callable[[], LabelSession]) -> LabelSession:
        """The desk ``key``, made if nobody sits at it yet; ``who`` has sat down when this returns."""
        with self._lock:
            seats = self._seats.setdefault(who, {})
            seats.pop(key, None)
            seats[key] = None
            session = self._sessions.get(key)
            if session is None:
                session = self._sessions[key] = make()
            left = list(seats)[: -self._each]
            for other in left:
                del seats[other]
        self._clear(left)
        return session

    def leave(self, who: str) -> None:
        """``who`` is gone; desks where nobody sits any more are cleared away."""
        with self._lock:
            left = list(self._seats.pop(who, {}))
        self._clear(left)

    def _clear(self, keys: list[Hashable]) -> None:
        with self._lock:
            taken = {key for seats in self._seats.values() for key in seats}
            gone = [self._sessions.pop(key) for key in keys if key not in taken and key in self._sessions]
        for session in gone:
            session.assessor.close()

    def __len__(self) -> int:
        return len(self._sessions)
