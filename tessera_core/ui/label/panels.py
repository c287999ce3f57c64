"""The folded panels beside the map: how good it is, groups, tidying up, class trees, notes, and the method.

What a panel computes runs on the shared pool with progress; what it makes appears as a layer of the map.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.errors import TesseraError
from tessera_core.project.classify import head_choice, label_samples
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession, PostProcessed
from tessera_core.session.live_map import is_instant, next_step
from tessera_core.types import Cancel, Progress
from tessera_core.ui import humanize, jobs, shell
from tessera_core.ui.label import import_labels, notes
from tessera_core.ui.scene import OpenScene

if TYPE_CHECKING:
    from tessera_core.analysis.clusters import Clusters
    from tessera_core.analysis.postprocess import PostProcessing
    from tessera_core.heads import HeadChoice

POST_PROCESSING_NAMES = {
    "majority": "Most frequent of its neighbours",
    "sieve": "Smallest patch",
    "potts": "Smooth edges, weighing certainty",
}
_HEADS = "<th>Class</th><th>Found</th><th>Right</th><th>n</th>"
_TABLE = """<style>
.label-scores { width: 100%; border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
.label-scores th, .label-scores td { padding: 4px 3px; border-bottom: 1px solid rgba(128, 128, 128, 0.25); }
.label-scores th, .label-scores td { text-align: right; white-space: nowrap; }
.label-scores th { font-weight: 400; opacity: 0.7; }
.label-scores th:first-child, .label-scores td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
</style>"""
CLUSTER_LABELS = 20
CLUSTERS_FIRST = 8


def show(session: LabelSession, project: Project, scene: OpenScene) -> None:
    """All panels, folded; what is inside one is made only while it is open."""
    ready = not next_step(project.log)
    for name, title, icon, body in (
        ("quality", "How good is it?", ":material/verified:", _quality),
        ("groups", "Groups", ":material/bubble_chart:", _groups),
        ("tidy", "Tidy up", ":material/cleaning_services:", _post_processing),
        ("tree", "Classes as a tree", ":material/account_tree:", _tree),
        ("notes", "Notes", ":material/sticky_note_2:", _notes),
        ("file", "Labels from a file", ":material/upload_file:", _file),
        ("method", "Method", ":material/tune:", _method),
    ):
        with st.expander(title, icon=icon, key=f"label_{name}_{project.key}", on_change="rerun") as panel:
            if panel.open:
                body(session, project, scene, ready)


# ------------------------------------------------------------------ how good


def _quality(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    insight = session.assessor.insight
    score = insight.score
    if not ready or score is None:
        first = "Label two places of two classes each, then the map is checked here."
        st.caption("The map is being checked…" if ready and insight.pending else insight.problem or first)
        return
    if score.accuracy is None or score.interval is None:
        st.markdown(humanize.escape(score.headline))
        return
    low, high = score.interval
    left, right = st.columns(2)
    left.metric("New places", f"{100 * score.accuracy:.0f} %", help="Whole places are held out, with a belt around.")
    naive = "–" if score.naive is None else f"{100 * score.naive:.0f} %"
    right.metric("Random split", naive, help="What most tools report. It tests beside what was learned from.")
    st.caption(
        f"Labels right when held out. 95 % sure: {100 * low:.0f} to {100 * high:.0f} %. n = {score.n_labels} labels in "
        f"{score.n_places} places."
    )
    for sentence in (score.gap, score.weakest, score.confused, *score.notes):
        if sentence:
            st.markdown(f":small[{humanize.escape(sentence)}]")
    _per_class(session, project)
    calibration = insight.calibration
    if calibration is not None:
        st.markdown(f"**Confidence.** :small[{humanize.escape(calibration.sentence)}]")
        if st.toggle("Show it as a plot", key=f"label_reliability_{project.key}"):
            _reliability(calibration)
    _curve(project, scene)


def _per_class(session: LabelSession, project: Project) -> None:
    score = session.assessor.insight.score
    if score is None:
        return
    # Not st.dataframe: it would hide columns beside the map, and more of them with longer names.
    rows = "".join(
        f"<tr><td>{html.escape(c.name)}</td><td>{100 * c.recall:.0f} %</td><td>{100 * c.precision:.0f} %</td>"
        f"<td>{c.labels}</td></tr>"
        for c in score.per_class
    )
    st.html(f"{_TABLE}<table class='label-scores'><tr>{_HEADS}</tr>{rows}</table>")
    st.caption("Found: of the class's held-out labels. Right: of what is mapped as the class. n: labels held out.")
    if score.confusion.size and st.toggle("Which classes are confused", key="label_confusion"):
        _confusion(score.classes, score.confusion, [c.name for c in project.log.classes])


def _confusion(names: Sequence[str], confusion: NDArray[np.floating], order: list[str]) -> None:
    """A picture that fits beside the map: columns are told by the numbers that classes have in the list."""
    shares = 100 * confusion / confusion.sum(axis=1, keepdims=True).clip(min=1e-9)
    # A score may be older than the newest names of the classes, until it is made anew.
    listed = [*order, *(name for name in names if name not in order)]
    numbers = [listed.index(name) + 1 for name in names]
    cells = [
        {
            "from": f"{number} {name}",
            "row": number,
            "to": other,
            "name": names[j],
            "share": round(float(shares[i, j]), 1),
        }
        for i, (name, number) in enumerate(zip(names, numbers, strict=True))
        for j, other in enumerate(numbers)
    ]
    text = {"field": "share", "type": "quantitative", "format": ".0f"}
    spec = {
        "height": {"step": 22},
        "data": {"values": cells},
        "encoding": {
            "x": {"field": "to", "type": "ordinal", "title": "Mapped as", "axis": {"labelAngle": 0, "orient": "top"}},
            "y": {
                "field": "from",
                "type": "ordinal",
                "title": None,
                "sort": {"field": "row"},
                "axis": {"labelLimit": 92},
            },
            "tooltip": [
                {"field": "from", "title": "Labelled"},
                {"field": "name", "title": "Mapped as"},
                {"field": "share", "title": "%"},
            ],
        },
        "layer": [
            {
                "mark": "rect",
                "encoding": {
                    "color": {
                        "field": "share",
                        "type": "quantitative",
                        "legend": None,
                        "scale": {"domain": [0, 100], "range": ["#f3f7f6", "#0b7a75"]},
                    }
                },
            },
            {
                "transform": [{"filter": "datum.share >= 0.5"}],
                "mark": {"type": "text", "fontSize": 10},
                "encoding": {
                    "text": text,
                    "color": {"condition": {"test": "datum.share > 55", "value": "white"}, "value": "#222222"},
                },
            },
        ],
    }
    st.vega_lite_chart(spec=spec, width="stretch", alt="Which classes are confused")
    st.caption("Rows: what you labelled. Columns: what the map says there, in % of the row's held-out labels.")


def _reliability(calibration: Any) -> None:
    points = [
        {"sure": round(100 * b.confidence, 1), "right": round(100 * b.accuracy, 1), "labels": b.weight, "which": name}
        for name, bins in (("as it is", calibration.before), ("calibrated", calibration.after))
        for b in bins
        if name == "as it is" or calibration.temperature != 1
    ]
    scale = {"domain": [0, 100]}
    legend = {"orient": "bottom"} if calibration.temperature != 1 else None
    spec = {
        "height": 260,
        "layer": [
            {
                "data": {"values": [{"x": 0, "y": 0}, {"x": 100, "y": 100}]},
                "mark": {"type": "line", "strokeDash": [4, 4], "color": "#888888"},
                "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
            },
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "opacity": 0.9},
                "encoding": {
                    "x": {"field": "sure", "type": "quantitative", "title": "Sure, %", "scale": scale},
                    "y": {
                        "field": "right",
                        "type": "quantitative",
                        "title": "Right, %",
                        "scale": scale,
                    },
                    "size": {"field": "labels", "type": "quantitative", "legend": None, "scale": {"range": [30, 300]}},
                    "color": {"field": "which", "type": "nominal", "title": None, "legend": legend},
                    "tooltip": [{"field": f, "type": "quantitative"} for f in ("sure", "right", "labels")],
                },
            },
        ],
    }
    st.vega_lite_chart(spec=spec, width="stretch", alt="How often the map is right, by how sure it is")
    st.caption("On the dashed line, “80 % sure” is right in 80 of 100 cases. Larger dots stand for more labels.")


def _curve(project: Project, scene: OpenScene) -> None:
    from tessera_core.assess.curve import learning_curve
    from tessera_core.heads import make_head

    choice = head_choice(project)
    labels, classes = project.log.labels, project.log.classes

    def work(progress: Progress, cancelled: Cancel) -> object:
        samples = label_samples(labels, classes, scene.raster)
        return learning_curve(samples, make_head(choice), progress=progress, cancelled=cancelled)

    done = _job(f"curve {project.key} {scene.key} {project.log.version} {choice}", "Would more labels help?", work)
    if done is None:
        return
    rows = [
        {"labels": n, "f1": f, "low": max(f - s, 0), "high": min(f + s, 1)}
        for n, f, s in zip(done.labels, done.macro_f1, done.spread, strict=True)
    ]
    x = {"field": "labels", "type": "quantitative", "title": "Labels of each class", "scale": {"type": "log"}}
    spec = {
        "height": 240,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.2},
                "encoding": {
                    "x": x,
                    "y": {"field": "low", "type": "quantitative", "title": "Score (macro-F1)"},
                    "y2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "line", "point": True},
                "encoding": {"x": x, "y": {"field": "f1", "type": "quantitative", "scale": {"zero": False}}},
            },
        ],
    }
    st.vega_lite_chart(spec=spec, width="stretch", alt="Score by labels of each class")
    st.caption(f"{done.sentence} Band: one standard deviation over repeated draws.")


def _job(key: str, title: str, work: Any) -> Any:
    """A button that starts ``work``; its progress; its result, or None while there is none."""
    job = jobs.pool().get(key)
    if job is None or (not job.active and job.state != "done"):

        @shell.shielded
        def start() -> None:
            jobs.pool().start(key, title, work)

        st.button(title, key=f"start_{key}", width="stretch", on_click=start)
        if job is not None:
            jobs.outcome(job)
        return None
    if job.active:
        jobs.show(job)
        return None
    return job.result


# -------------------------------------------------------------------- groups


def _groups(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    from tessera_core.analysis.clusters import cluster_tree
    from tessera_core.session import layers

    st.caption("Sort all pixels into groups that look alike, without labels; then name the groups you recognise.")

    def work(progress: Progress, cancelled: Cancel) -> object:
        return cluster_tree(scene.raster, progress=progress, cancelled=cancelled)

    key = f"groups {project.key} {scene.key}"
    tree = _job(key, "Find groups", work)
    if tree is None:
        return
    k = tree.finest
    if k > 2:
        k = st.slider(
            "Groups, from coarse to fine",
            2,
            tree.finest,
            min(CLUSTERS_FIRST, tree.finest),
            key=f"label_k_{key}",
            help="One step finer splits one group in two; all others stay as they are. Names stay with their pixels.",
        )
    found = session.cut_clusters(tree, k)
    colours = layers.cluster_colours(k)
    total = int(found.sizes.sum())
    # Names belong to the finest groups, so that they survive merging and splitting.
    names: dict[int, str] = st.session_state.setdefault(f"label_group_names_{key}", {})
    named = {}
    for number, (size, members) in enumerate(zip(found.sizes.tolist(), tree.members(k), strict=True), 1):
        box = f"display:inline-block;width:1.1em;height:1.1em;border-radius:3px;vertical-align:-2px;background:{colours[number]}"
        left, right = st.columns([2, 3], vertical_alignment="center")
        left.html(f"<span style='{box}'></span>&ensp;{100 * size / total:.0f} %")
        same = {names.get(leaf, "") for leaf in members}
        name = same.pop() if len(same) == 1 else ""
        field = f"label_group_{key}_{number}"
        st.session_state[field] = name
        right.text_input(
            f"Name of group {number}",
            key=field,
            placeholder="named in parts" if same else "name it, or leave it",
            label_visibility="collapsed",
            max_chars=80,
            on_change=_name_cluster,
            args=(names, members, field),
        )
        if name:
            named[number] = name
    st.caption(f"Groups of the same name become one class. {CLUSTER_LABELS} places spread over each are labelled.")
    st.button(
        "Make labels of the named groups",
        disabled=not named,
        key=f"label_promote_{key}",
        width="stretch",
        on_click=lambda: _say("groups", lambda: _promote(session, project, found, named)),
    )
    _said("groups")


def _name_cluster(names: dict[int, str], members: list[int], field: str) -> None:
    names.update(dict.fromkeys(members, str(st.session_state[field]).strip()))


def _promote(session: LabelSession, project: Project, found: Clusters, named: dict[int, str]) -> str:
    from tessera_core.session.similar import label_area

    areas = [(found.labels == number, name) for number, name in named.items()]
    count = label_area(project.log, session.live.raster, areas, "named group", count=CLUSTER_LABELS)
    session.used = found
    groups = "a group" if len(named) == 1 else f"{len(named)} groups"
    return f"{count} labels made of {groups}. Undo takes them back."


def _say(panel: str, act: Callable[[], str]) -> None:
    """Do something for a button of a panel; the panel then says how it went, see :func:`_said`."""
    try:
        st.session_state[f"label_said_{panel}"] = ("done", act())
    except TesseraError as error:
        st.session_state[f"label_said_{panel}"] = ("error", str(error))


def _said(panel: str) -> None:
    kind, text = st.session_state.pop(f"label_said_{panel}", ("", ""))
    if kind == "error":
        st.error(text, icon=":material/error:")
    elif text:
        st.toast(text, icon=":material/check:")


# ---------------------------------------------------------------------- tidy


def _post_processing(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    from tessera_core.analysis.postprocess import PostProcessing, pixels_of

    if not ready:
        st.caption("Once there is a map, single odd pixels can be removed here.")
        return
    st.caption("Remove single odd pixels, and see whether that makes the map better or worse.")
    method = st.radio(
        "How",
        list(POST_PROCESSING_NAMES),
        format_func=POST_PROCESSING_NAMES.__getitem__,
        key=f"label_tidy_how_{project.key}",
    )
    size, hectares, beta = 3, 0.1, 1.0
    grid = scene.raster.grid
    if method == "majority":
        size = st.segmented_control(
            "Window", [3, 5, 7], default=3, required=True, format_func=lambda n: f"{n} x {n} px", key="label_tidy_size"
        )
    elif method == "sieve":
        hectares = st.number_input("Smallest patch, hectares", 0.01, 1000.0, 0.1, 0.05, key="label_tidy_ha")
        if grid.georeferenced:
            st.caption(f"That is {pixels_of(hectares, grid)} pixels; smaller patches go to their largest neighbour.")
    else:
        beta = st.slider("Strength", 0.2, 3.0, 1.0, 0.2, key="label_tidy_beta")
    post_processing = PostProcessing(str(method), int(size), float(hectares), float(beta))
    version, choice = project.log.version, head_choice(project)
    labels, classes = project.log.labels, project.log.classes

    def work(progress: Progress, cancelled: Cancel) -> object:
        return _post_processed_layer(
            session, scene, labels, classes, version, choice, post_processing, progress, cancelled
        )

    done = _job(f"tidy {project.key} {scene.key} {version} {choice} {post_processing}", "Preview", work)
    if done is not None:
        session.post_processed = done
        st.markdown(f":small[{humanize.escape(done.sentence)}]")
    used = project.settings.post_processing == post_processing.to_json()
    if st.toggle("Export the map tidied like this", used, key=f"label_tidy_use_{post_processing}") != used:
        project.update(post_processing=None if used else post_processing.to_json())


def _post_processed_layer(
    session: LabelSession,
    scene: OpenScene,
    labels: Any,
    classes: Any,
    version: int,
    choice: HeadChoice,
    post_processing: PostProcessing,
    progress: Progress,
    cancelled: Cancel,
) -> PostProcessed:
    from tessera_core.assess.postprocess import score_post_processing
    from tessera_core.heads import make_head, predict_raster
    from tessera_core.project.classify import fit_labels

    head = fit_labels(labels, scene.raster, choice, cancelled=cancelled)
    rough = predict_raster(head, scene.raster, cancelled=cancelled).classes
    smooth = post_processing(rough, scene.raster, head, cancelled)
    score, sentence = None, ""
    try:
        samples = label_samples(labels, classes, scene.raster)
        score = score_post_processing(
            samples,
            make_head(choice),
            scene.raster,
            lambda m, h: post_processing(m, scene.raster, h, cancelled),
            cancelled=cancelled,
            progress=progress,
        )
        sentence = score.sentence
    except TesseraError as error:
        if cancelled():
            raise
        changed = float((rough != smooth).sum()) / max(int((rough > 0).sum()), 1)
        sentence = f"{100 * changed:.1f} % of the map changed. Whether it is better cannot be said yet: {error}"
    return PostProcessed(post_processing, version, choice, smooth, score, sentence)


# ---------------------------------------------------------------------- tree


def _tree(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    from tessera_core.labels.schema import SHIPPED, adopt, parse_tree

    tree = project.class_tree
    if tree is not None:
        lines = [
            f"{'&nbsp;' * 4 * row.depth}{humanize.escape(row.name)} :small[:gray[{row.below or ''}]]"
            for row in tree.rows(project.log.classes, project.log.counts)
        ]
        st.markdown("  \n".join(lines))
        st.caption("Label at any level. Numbers: labels of a class and everything beneath it.")
        st.button(
            "Take the tree away (classes stay)",
            key=f"label_tree_off_{project.key}",
            width="stretch",
            on_click=lambda: project.update(schema=None),
        )
        _said("tree")
        return
    key = f"label_tree_text_{project.key}"

    def fill() -> None:
        chosen = st.session_state[f"label_tree_pick_{project.key}"]
        if chosen in SHIPPED:
            st.session_state[key] = SHIPPED[chosen].to_text()

    st.selectbox(
        "Begin with",
        ["your own", *SHIPPED],
        key=f"label_tree_pick_{project.key}",
        on_change=fill,
    )
    text = st.text_area(
        "One class a line, indented beneath its parent (or JSON)",
        key=key,
        height=180,
        placeholder="Woodland\n  Broadleaved\n  Coniferous\nGrassland",
    )

    def use() -> str:
        parsed = parse_tree(text)
        added = adopt(project.log, parsed)
        project.update(schema=parsed.to_json())
        return f"{added} classes added; undo takes them back."

    st.button(
        "Use this tree",
        disabled=not text.strip(),
        key=f"label_tree_use_{project.key}",
        width="stretch",
        on_click=lambda: _say("tree", use),
    )
    _said("tree")


# --------------------------------------------------------------------- notes


def _notes(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    notes.panel(project)


# --------------------------------------------------------------------- files


def _file(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    import_labels.panel(project, scene)


# -------------------------------------------------------------------- method


def _counts_evenly(choice: HeadChoice) -> bool | None:
    """Whether a head gives every class the same say; None where it cannot be told to, or has a weight for each class."""
    from tessera_core.heads import HEADS

    own = HEADS[choice.name]().get_params() if choice.name in HEADS else {}
    if "class_weight" not in own or isinstance(choice.class_weight, tuple):
        return None
    return (own["class_weight"] if choice.class_weight == "own" else choice.class_weight) == "balanced"


def _method(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    from tessera_core.heads import CHOICES
    from tessera_core.heads.choice import EVERY_LABEL

    choice = head_choice(project)
    options = list(dict.fromkeys([*CHOICES, choice.name]))

    def keep(setting: str, key: str) -> Callable[[], None]:
        return lambda: project.update(**{setting: st.session_state[key]})

    key = f"label_head_{project.key}"
    st.selectbox(
        "How the map is made from your labels",
        options,
        index=options.index(choice.name),
        format_func=lambda name: str(CHOICES.get(name, name)).partition(":")[0],
        key=key,
        on_change=keep("head", key),
    )
    about = CHOICES.get(choice.name, "").partition(":")[2].strip()
    if about:
        st.caption(f"{about[0].upper()}{about[1:]}")
    if choice.name != "unet":
        key = f"label_context_{project.key}"
        st.segmented_control(
            "What it looks at",
            [1, 3, 5],
            default=choice.context,
            required=True,
            format_func=lambda n: "Pixel" if n == 1 else f"{n} x {n}",
            key=key,
            on_change=keep("context", key),
            help="The pixel alone, or with its neighbours. Neighbours smooth the map and blur narrow things; it takes longer.",
            width="stretch",
        )
    evenly = _counts_evenly(choice)
    if evenly is not None:
        # Heads have rules of their own, so the switch belongs to one head.
        key = f"label_evenly_{project.key}_{choice.name}"
        st.toggle(
            "Classes count the same",
            evenly,
            key=key,
            on_change=lambda: project.update(class_weight="balanced" if st.session_state[key] else EVERY_LABEL),
            help="On: a class with few labels weighs as much as one with many. Off: each label weighs the same, so classes "
            "with many labels are mapped more often.",
        )
    if choice.parents:
        key = f"label_certainty_{project.key}"
        st.slider(
            "Sure enough for the finer class, %",
            0,
            95,
            round(100 * choice.certainty),
            5,
            key=key,
            on_change=lambda: project.update(certainty=st.session_state[key] / 100),
            help="Where the map is less sure than this, it shows the class above in your tree.",
        )
    if not is_instant(choice):
        st.caption("A quick map follows your clicks; this method's own map replaces it when it is ready.")
