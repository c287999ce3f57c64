"""The panel of heads: keep what labels have taught, learn from other regions, and map this one with a head of elsewhere."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.language import relay, t
from tessera_core.project import library, places, saved_heads
from tessera_core.project.classify import head_choice
from tessera_core.project.folders import safe_name
from tessera_core.project.project import Project
from tessera_core.session.labelling import LabelSession
from tessera_core.types import Cancel, Progress
from tessera_core.ui import files, given_heads, humanize, state
from tessera_core.ui.label import tasks
from tessera_core.ui.scene import OpenScene

if TYPE_CHECKING:
    from tessera_core.project.joint_heads import Taught
    from tessera_core.project.teaching import HeadHere, JointHead


def panel(session: LabelSession, project: Project, scene: OpenScene, ready: bool) -> None:
    """Teach, keep and share a head; use one."""
    st.caption(
        t(
            "What labels have taught (a head) can be kept under a name, map other regions and years of the same embeddings, and "
            "go on learning there."
        )
    )
    st.markdown(t("**Teach a head**"))
    made = _teach(project, scene, ready)
    if made is not None:
        _made(session, project, scene, made, "taught")
    st.markdown(t("**Use a head**"))
    given = given_heads.choose(f"label_heads_{project.key}", scene.raster.provenance)
    if isinstance(given, given_heads.Given):
        _use(session, project, scene, given, ready)
    tasks.said("heads")


# ------------------------------------------------------------------- teaching


def _teach(project: Project, scene: OpenScene, ready: bool) -> JointHead | None:
    """A head of the labels here and of other projects."""
    chosen = _places(project)
    if not ready and not chosen:
        st.caption(t("Label two places of two classes each first, then they teach a head."))
        return None
    choice, year = head_choice(project), state.current_year(project)
    of_year = project.settings.label_year
    if of_year in project.embeddings and of_year != year:
        st.caption(
            t(
                "Your labels are noted as of {label_year}; here they teach as labels of {year}, the year in sight. If that is not "
                "meant, choose {label_year} above first.",
                label_year=of_year,
                year=year,
            )
        )
    log, labels, classes = project.log.version, bool(project.log.labels), tuple(project.log.classes)

    def work(progress: Progress, cancelled: Cancel) -> object:
        from tessera_core.project.teaching import teach

        parts = [_here(project, scene, year)] if labels else []
        parts += [_elsewhere(folder) for folder in chosen]
        return teach(parts, choice, classes=classes, progress=progress, cancelled=cancelled)

    key = f"heads {project.key} {scene.key} {log} {choice} {_stamps(chosen)}"
    made: JointHead | None = tasks.job(key, t("Teach a head of these labels"), work)
    return made


def _places(project: Project) -> list[str]:
    """Folders of the other places of the map, chosen here and remembered."""
    others = _others(project)
    if not others:
        return []
    known = [str(place.folder) for place in places.places_of(project) if str(place.folder) in others]
    key = f"label_heads_others_{project.key}"
    # What another tab or another place has changed is shown as it is.
    st.session_state[key] = known

    def changed() -> str:
        wanted = st.session_state[key]
        for folder in [folder for folder in wanted if folder not in known]:
            places.add_place(project, Path(folder))
        for folder in [folder for folder in known if folder not in wanted]:
            places.take_out(project, Path(folder))
        return ""

    chosen: list[str] = st.multiselect(
        t("Learn also from"),
        list(others),
        format_func=lambda folder: others.get(folder, ""),
        key=key,
        on_change=lambda: tasks.say("heads", changed),
        placeholder=t("Choose regions"),
        help=t(
            "Other projects of the same embeddings, with their labels. Each is left out once, so that you learn how right the "
            "head is where it learnt nothing. They become places of one map, and you go from one to the other at the head of "
            "every page."
        ),
    )
    return chosen


def _others(project: Project) -> dict[str, str]:
    """Folder -> name of other projects of the same dataset, of this person."""
    here = project.folder.resolve()
    found = [e for e in library.recent() if e.dataset and e.dataset == project.dataset and e.folder.resolve() != here]
    names = [entry.name for entry in found]
    return {
        str(entry.folder): entry.name if names.count(entry.name) == 1 else f"{entry.name} ({entry.folder.name})"
        for entry in found
    }


def _stamps(folders: list[str]) -> str:
    """Changes when the labels of these projects do."""
    found = []
    for folder in sorted(folders):
        try:
            found.append(f"{folder} {Project.open(folder).log.version}")
        except TesseraError:
            # Gone meanwhile; the work says so.
            found.append(folder)
    return "|".join(found)


def _here(project: Project, scene: OpenScene, year: int | None) -> Taught:
    from tessera_core.project.teaching import taught_by_project

    return taught_by_project(project, scene.raster, year)


def _elsewhere(folder: str) -> Taught:
    from tessera_core.project.teaching import label_year, taught_by_project
    from tessera_core.sources.local.open import open_embeddings

    other = Project.open(folder)
    year = label_year(other)
    return taught_by_project(other, open_embeddings(other.embeddings_path(year), year=year), year)


def _made(session: LabelSession, project: Project, scene: OpenScene, made: JointHead, what: str) -> None:
    """How a head travels; keep it under a name, or take its file."""
    for sentence in made.sentences():
        st.markdown(f":small[{humanize.escape(relay(sentence))}]")
    score = made.trained.score
    if score is not None and not made.elsewhere:
        st.markdown(f":small[{humanize.escape(relay(score.headline))}]")
    key = f"{project.key}_{what}"
    stem = files.stem_of(project, state.current_year(project))
    if not state.hosted():
        name = st.text_input(
            t("Keep it as"), made.taught.places[0], max_chars=60, key=f"label_heads_name_{key}", placeholder=t("A name")
        )
        taken = name.strip() in saved_heads.head_names()
        st.button(
            t("Replace the one of that name") if taken else t("Keep it"),
            icon=":material/bookmark:",
            key=f"label_heads_keep_{key}",
            width="stretch",
            disabled=not name.strip(),
            on_click=lambda: tasks.say("heads", lambda: _keep(made, name, replace=taken)),
        )
    item = files.Item(
        t("Head"),
        t("For Tessera Studio elsewhere; it carries what taught it, so that it goes on learning."),
        t("Head as a file"),
        f"{stem}-{what}-head.safetensors",
        "application/octet-stream",
        made.save,
    )
    files.button(item)


def _keep(made: JointHead, name: str, *, replace: bool) -> str:
    with tempfile.TemporaryDirectory(prefix="tessera-head-") as folder:
        kept = saved_heads.keep_head(made.save(Path(folder) / "head.safetensors"), name, replace=replace)
    return t("Kept as {name}.", name=kept.name)


# -------------------------------------------------------------------- using


def _use(session: LabelSession, project: Project, scene: OpenScene, given: given_heads.Given, ready: bool) -> None:
    given_heads.about(given.saved)
    year, log = state.current_year(project), project.log.version
    labels = bool(project.log.labels)

    def apply(progress: Progress, cancelled: Cancel) -> object:
        from tessera_core.project.teaching import head_here

        own = _here(project, scene, year) if labels else None
        return head_here(given.saved, scene.raster, own, name=given.name, progress=progress, cancelled=cancelled)

    made: HeadHere | None = tasks.job(
        f"head here {project.key} {scene.key} {given.content} {log}", t("Map this region with it"), apply
    )
    if made is not None:
        session.given = made
        for sentence in made.sentences():
            st.markdown(f":small[{humanize.escape(relay(sentence))}]")
        stem = files.stem_of(project, year)
        files.button(
            files.Item(
                t("Its map"),
                t("The map of this head as GeoTIFF."),
                t("Its map as a file"),
                f"{stem}-{safe_name(given.name)}.tif",
                "image/tiff",
                made.made.write,
            )
        )
    if given.saved.taught and ready:
        taught = _further(project, scene, given)
        if taught is not None:
            _made(session, project, scene, taught, "further")
    elif ready:
        st.caption(t("This file does not carry the labels that taught it, so it cannot learn more."))
    if given.kept:
        st.button(
            t("Forget this head"),
            icon=":material/delete:",
            type="tertiary",
            key=f"label_heads_forget_{project.key}",
            on_click=lambda: tasks.say("heads", lambda: _forget(given.name)),
        )


def _further(project: Project, scene: OpenScene, given: given_heads.Given) -> JointHead | None:
    year = state.current_year(project)

    def work(progress: Progress, cancelled: Cancel) -> object:
        from tessera_core.project.teaching import teach_further

        own = _here(project, scene, year)
        return teach_further(given.saved, [own], what=given.name, progress=progress, cancelled=cancelled)

    key = f"head further {project.key} {scene.key} {given.content} {project.log.version}"
    made: JointHead | None = tasks.job(key, t("Teach it with the labels here"), work)
    return made


def _forget(name: str) -> str:
    saved_heads.forget_head(name)
    return t("{name} is no longer kept.", name=name)
