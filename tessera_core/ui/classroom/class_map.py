"""The map of a class on a page: what it voted for, where it disagrees, who confuses which classes, and how right all that is.

    class_map.show(works, template, page="classroom")

What is shown is the matter of :mod:`tessera_core.classroom.together`.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.classroom.consensus import confused_classes
from tessera_core.classroom.standing import standings
from tessera_core.classroom.tables import board_csv, board_rows, differently
from tessera_core.classroom.together import Together, together, write_together, year_of
from tessera_core.classroom.work import Work
from tessera_core.language import numeral, relay, t
from tessera_core.project.folders import safe_name
from tessera_core.project.project import Project
from tessera_core.render import palette
from tessera_core.render.colormap import Scale, encode_values, hexes
from tessera_core.ui import charts, files, humanize, results, shell, state, tables
from tessera_core.ui.classroom import scores
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import ColourScale, Layer
from tessera_core.ui.scene import OpenScene

# Pairs of classes and of learners that are told.
MOST_PAIRS = 5
_LEAST_CONFUSED = 0.005
_CONTESTED = "uncertainty"


def show(works: Sequence[Work], template: Project, page: str) -> None:
    """Draw the map of a class with its tables, on a page that has called ``view_map.loader``, which each may do once.

    Args:
        works: of all learners.
        template: the project that they started from.
        page: address of the page, which waits while the map is made.
    """
    scene = state.scene_for(template, year_of(template))
    key = _key(works, template, scene)
    found: Together | None = results.result_of(
        page,
        key,
        t("Voting on the map of the class"),
        lambda progress, cancelled: together(works, template, scene.raster, progress=progress, cancelled=cancelled),
        t("Vote again"),
    )
    if found is not None:
        _draw(found, template, scene, key)


def _key(works: Sequence[Work], template: Project, scene: OpenScene) -> str:
    facts = [
        *sorted((work.learner, work.stamp, "" if work.validation is None else work.saved_at) for work in works),
        (template.key, template.log.version, template.saved_at),
        scene.key,
    ]
    return f"class-map-{hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()}"


@st.fragment
@shell.shielded
def _draw(found: Together, template: Project, scene: OpenScene, key: str) -> None:
    if found.consensus is None:
        st.info(t("There is no map of the class yet: a learner needs labels of two classes."), icon=":material/info:")
        _notes(found)
        return
    left, right = st.columns([6, 4], gap="medium")
    with left:
        view_map.view_map(
            f"class_map_{template.key}",
            scene.display,
            view_map.MapContent(_layers(found, scene, key)),
            tools=(),
            look=view_map.MapLook(template.name, t("The map of the class")),
        )
        _take_along(found, template, key)
    with right:
        _right(found)
        _agreement(found)
    _learners(found, template)
    _confusion(found)
    _notes(found)


# ------------------------------------------------------------------ the map


def _layers(found: Together, scene: OpenScene, key: str) -> list[Layer]:
    colours = {one.id: one.color for one in found.legend.classes}
    legend = tuple((one.color, one.name) for one in found.legend.classes)
    made = found.consensus
    assert made is not None
    share = ColourScale(0, 100, hexes(_CONTESTED, 11), "%")
    layers = [
        Layer(
            "vote",
            t("Class map"),
            partial(_class_png, f"{key}|vote", scene, made.classes, colours),
            key,
            legend=legend,
            group="base",
        ),
        Layer(
            "contested",
            t("Where the class disagrees"),
            partial(_share_png, f"{key}|contested", scene, made.share),
            key,
            visible=False,
            group="base",
            scale=share,
        ),
    ]
    if found.pooled is not None:
        pooled = found.pooled.classes
        layers.append(
            Layer(
                "pooled",
                t("All labels as one"),
                partial(_class_png, f"{key}|pooled", scene, pooled, colours),
                key,
                visible=False,
                legend=legend,
                group="base",
            )
        )
    for work in found.works:
        if work.map is not None:
            own = found.legend.tables[work.learner][work.map]
            layers.append(
                Layer(
                    f"learner-{work.project}",
                    work.learner,
                    partial(_class_png, f"{key}|{work.learner}", scene, own, colours),
                    f"{key}|{work.stamp}",
                    visible=False,
                    legend=legend,
                    group="base",
                )
            )
    if scene.has_true_colour:
        photo = partial(scene.png, "truecolour")
        layers.append(Layer("photo", t("Satellite picture"), photo, scene.key, visible=False, group="base"))
    # Listed from the top: the class map, and then what it is compared with.
    return layers[::-1]


@st.cache_resource(max_entries=48, show_spinner=False)
def _class_png(version: str, _scene: OpenScene, _classes: NDArray[np.uint8], _colours: dict[int, str]) -> bytes:
    return palette.encode(_scene.display.warp(_classes), _colours)


@st.cache_resource(max_entries=8, show_spinner=False)
def _share_png(version: str, _scene: OpenScene, _share: NDArray[np.uint8]) -> bytes:
    """How many percent of the votes are for another class than the winner."""
    against = np.where(_share == 255, np.nan, 100.0 - _share).astype(np.float32)
    index = Scale(0, 100).index(against)
    return encode_values(_scene.display.warp(index), _CONTESTED)


def _take_along(found: Together, template: Project, key: str) -> None:
    stem = safe_name(f"{template.name} class map").replace(" ", "-")
    with st.container(horizontal=True):
        files.button(
            files.Item(
                t("The map of the class"),
                t("The map, how much the class agrees, all labels as one, and the board."),
                t("Maps and board (.zip)"),
                f"{stem}.zip",
                "application/zip",
                lambda path: _write(found, path),
            )
        )


def _write(found: Together, path: Path) -> Path:
    with tempfile.TemporaryDirectory() as place:
        write_together(found, place)
        (Path(place) / "board.csv").write_text(board_csv(board_rows(found.works, found)), encoding="utf-8")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for one in sorted(Path(place).iterdir()):
                archive.write(one, one.name)
    return path


# ------------------------------------------------------------------ in figures


def _right(found: Together) -> None:
    judged = found.judged
    st.subheader(t("How right is it?"), anchor=False)
    if judged is None:
        st.markdown(
            t(
                "Nobody can tell yet. Draw a sample on the page Validate of the project that you hand out: "
                "answer its places yourself, or have the class answer the same places."
            )
        )
        return
    if judged.simulated:
        st.caption(
            t(
                "By the truth of the simulated place, at all of its {places} pixels with a class of the list.",
                places=numeral(judged.places, ","),
            )
        )
    else:
        st.caption(
            t(
                "By {places} places drawn by chance, the same for all; 95 % intervals in brackets.",
                places=numeral(judged.places, ","),
            )
        )
    lines = []
    if judged.best is not None and judged.mean is not None:
        learner, share = judged.best
        lines.append((t("Best single map"), share, judged.intervals.get(("learner", learner)), learner))
        lines.append((t("Single maps, mean"), judged.mean, None, ""))
    if judged.consensus is not None:
        lines.append((t("Map of the class"), judged.consensus, judged.intervals.get(("class", "consensus")), ""))
    if judged.pooled is not None:
        lines.append((t("All labels as one"), judged.pooled, judged.intervals.get(("class", "pooled")), ""))
    tables.show(
        {
            "Map": [name for name, *_ in lines],
            "Right": [scores.share(share, interval) for _, share, interval, _ in lines],
            "Whose": [who for *_, who in lines],
        },
        hide_index=True,
        width="stretch",
    )
    st.markdown(
        t(
            "The map of the class is better than **{beaten} of {learners}** single maps.",
            beaten=judged.beaten,
            learners=len(judged.learners),
        )
    )


def _agreement(found: Together) -> None:
    made = found.consensus
    assert made is not None
    st.subheader(t("Where does the class disagree?"), anchor=False)
    st.markdown(
        t(
            "On **{percent}** of the region the class that won has less than two thirds of the votes of "
            "{weights} learners.",
            percent=scores.percent(made.disputed),
            weights=len(made.weights),
        )
    )
    parted = found.disagreement
    if parted is None:
        return
    pairs = [pair for pair in confused_classes(parted, found.legend)[:MOST_PAIRS] if pair[2] >= _LEAST_CONFUSED]
    if pairs:
        st.markdown(t("Classes taken for each other most often, in percent of all pairs of votes:"))
        tables.show(
            {
                "One says": [a for a, _, _ in pairs],
                "the other": [b for _, b, _ in pairs],
                "How often": [scores.percent(share) for *_, share in pairs],
            },
            hide_index=True,
            width="stretch",
        )
    st.markdown(t("Who sees it differently from the class, most of all:"))
    lines = [
        t(
            "- **{learner}** on {percent} of the region: {differently}.",
            learner=humanize.escape(one.learner),
            percent=scores.percent(one.differs),
            differently=humanize.escape(differently(one, found.legend.names)),
        )
        for one in found.departures[:MOST_PAIRS]
        if one.mine
    ]
    st.markdown("\n".join(lines) or t("Nobody does."))


def _learners(found: Together, template: Project) -> None:
    st.subheader(t("Whose map is what"), anchor=False)
    ranked = st.toggle(
        t("Show scores in order"),
        key=f"class_map_ranked_{template.key}",
        help=t("Off, nobody is compared."),
    )
    order = standings(found.works, template.log.classes, template.origin)
    rows = board_rows(found.works, found)
    if ranked:
        place = {one.learner: number for number, one in enumerate(order)}
        rows.sort(key=lambda row: place[row["learner"]])
    columns = scores.columns([row["learner"] for row in rows], order)
    if not ranked:
        columns.pop("Rank")
    tables.show(
        {
            "Learner": [row["learner"] for row in rows],
            "Labels": [row["labels"] for row in rows],
            "Classes": [row["classes"] for row in rows],
            **columns,
            "Weight of the vote": ["" if row["weight"] is None else numeral(row["weight"], ".2f") for row in rows],
            "Right": ["" if row["right"] is None else scores.percent(row["right"]) for row in rows],
            "Differs from the class": [
                "" if row["differs"] is None else scores.percent(row["differs"]) for row in rows
            ],
            "Most of all": [row["differently"] for row in rows],
            "Places checked": [row["answers"] for row in rows],
            "Lesson": [row["lesson"] for row in rows],
            "To mind": [row["remark"] for row in rows],
        },
        hide_index=True,
        width="stretch",
        height="content",
    )
    st.caption(
        t(
            "The score at places held out judges each map by its own labels: who labels easy places has a "
            "high one. How right a map is can only be told at places that are the same for all."
        )
    )
    if ranked:
        st.caption(t(scores.NOTE))


def _confusion(found: Together) -> None:
    parted = found.disagreement
    if parted is None or len(parted.learners) < 2:
        return
    with st.expander(t("Who agrees with whom"), icon=":material/groups:"):
        charts.show(
            charts.agreement_figure(parted.learners, 100 * parted.agree),
            t("Of each pair of learners, the share of the region that they map alike."),
            "class_map_agreement",
        )
        st.caption(
            t(
                "Percent of the region that two learners map alike, on {pixels} pixels.",
                pixels=numeral(parted.pixels, ","),
            )
        )
        names = found.legend.names
        tables.show(
            {
                "Learner": [one.first for one in parted.confusions],
                "says": [names[one.mine] for one in parted.confusions],
                "Another": [one.second for one in parted.confusions],
                "says instead": [names[one.theirs] for one in parted.confusions],
                "Of the region": [scores.percent(one.share) for one in parted.confusions],
            },
            hide_index=True,
            width="stretch",
        )


def _notes(found: Together) -> None:
    if found.notes:
        with st.expander(t("To mind ({notes})", notes=len(found.notes)), icon=":material/info:"):
            st.markdown("\n".join(f"- {humanize.escape(relay(note))}" for note in found.notes))
