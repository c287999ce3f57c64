"""The teacher's side of the page Class: open a class, the board, what is done with all or one, the map of the class."""

from __future__ import annotations

import html
import time
from pathlib import Path

import pandas as pd
import streamlit as st

from tessera_core.classroom import board, joining, store
from tessera_core.classroom.model import Classroom, shown_code
from tessera_core.classroom.together import year_of
from tessera_core.classroom.work import Work, read_work
from tessera_core.errors import TesseraError
from tessera_core.hosting import Person
from tessera_core.language import later, relay, t
from tessera_core.lessons import library as lessons
from tessera_core.project import library
from tessera_core.project.folders import safe_name
from tessera_core.project.project import Project
from tessera_core.types import Cancel, Progress
from tessera_core.ui import humanize, jobs, results, shell, speech, state, tables
from tessera_core.ui.classroom import projector, scores
from tessera_core.ui.classroom.addresses import address, is_loopback, qr

_WAITS = "class_waits"
_CHOSEN, _NEW, _UNDO, _WORD, _DEMO = "class_chosen", "class_new", "class_undo", "class_word", "demo"
_STATES = {
    "working": later("at work"),
    "stuck": later("stuck?"),
    "away": later("away"),
    "gone": later("project is gone"),
}


def draw(person: Person) -> None:
    """Draw the page for a teacher."""
    mine = [one for one in store.classes() if person.role == "owner" or one.teacher == person.key]
    found = _chosen(mine)
    if found is not None and st.session_state.get(projector.SHOWN):
        projector.draw(found)
        return
    st.title(t("Class"))
    if mine:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if len(mine) > 1:
                ids = [one.id for one in mine]
                st.selectbox(
                    t("Class"),
                    ids,
                    index=ids.index(found.id) if found is not None else 0,
                    format_func=lambda one: next(_title(known) for known in mine if known.id == one),
                    key=_CHOSEN,
                    width="stretch",
                )
            if st.button(t("Open another class"), icon=":material/add:", key="class_another"):
                st.session_state[_NEW] = True
    if found is None or st.session_state.get(_NEW):
        _open(person)
        if found is None:
            return
    _class(found, person)


def _title(found: Classroom) -> str:
    return found.name if found.state == "open" else t("{name} (ended)", name=found.name)


def _chosen(mine: list[Classroom]) -> Classroom | None:
    known = {one.id: one for one in mine}
    return known.get(st.session_state.get(_CHOSEN, "")) or (mine[0] if mine else None)


# ---------------------------------------------------------------- opening


def _open(person: Person) -> None:
    entries = {entry.folder: entry for entry in library.recent() if entry.dataset}
    with st.container(border=True, key="class_open"):
        st.header(t("Open a class"), anchor=False)
        demo = t("The demo region")
        choices = [demo, *entries]
        picked = st.selectbox(
            t("What learners start from"),
            choices,
            format_func=lambda one: one if isinstance(one, str) else entries[one].name,
            key="class_template",
            help=t(
                "Each learner gets a project of their own with this region and the list of classes, without "
                "your labels."
            ),
        )
        known = lessons.shelf().lessons
        lesson = st.selectbox(
            t("Lesson that they do"),
            ["", *known],
            format_func=lambda one: t("None") if not one else f"{known[one].number}. {known[one].words().title}",
            disabled=picked != demo,
            help=None if picked == demo else t("Lessons are done on the demo region, whose truth is known."),
            key="class_lesson",
        )
        name = st.text_input(t("Name of the class"), placeholder=t("Year 10, Tuesday"), max_chars=80, key="class_name")
        tasks = st.text_area(
            t("Tasks, one a line"), placeholder=t("Label five places of each class."), height=96, key="class_tasks_new"
        )
        kinds = st.text_input(
            t("Classes of the map, separated by commas"), placeholder=t("Water, Forest, Fields"), key="class_kinds"
        )
        job = jobs.pool().get(_DEMO)
        if job is not None and job.active:
            jobs.show(job)
            return
        if job is not None and not jobs.outcome(job):
            st.session_state.pop(_WAITS, None)
        asked = st.button(t("Open the class"), type="primary", icon=":material/school:", key="class_go")
        # Whoever asked before the demo region was made has asked.
        if asked or st.session_state.pop(_WAITS, False):
            template = Project.open(picked) if isinstance(picked, Path) else _demo()
            if template is None:
                st.session_state[_WAITS] = True
                st.rerun()
            with st.spinner(t("Packing what learners start from…")):
                joining.open_class(
                    template,
                    person,
                    name=name or (template.name if not lesson else known[lesson].words().title),
                    tasks=[line.strip() for line in tasks.splitlines() if line.strip()],
                    classes=[one.strip() for one in kinds.split(",") if one.strip()],
                    lesson=lesson if picked == demo else "",
                )
            st.session_state.pop(_NEW, None)
            # The newest is the first of the list.
            st.session_state.pop(_CHOSEN, None)
            st.rerun()


def _demo() -> Project | None:
    """The demo region as a template; None while it is made."""
    demo = library.take_demo()
    if demo is None:
        jobs.pool().start(_DEMO, t("Making the demo region"), library.make_demo)
        return None
    # A fresh one: what the teacher labelled in theirs has other classes perhaps.
    return library.start_demo(demo, fresh=True)


# ---------------------------------------------------------------- the class


def _class(found: Classroom, person: Person) -> None:
    st.header(humanize.escape(found.name), anchor=False)
    if found.state == "open":
        _door(found)
        _orders(found)
    else:
        st.info(
            t("This class has ended: nobody joins it. Its projects stay until you delete the class."),
            icon=":material/flag:",
        )
    if (undo := st.session_state.get(_UNDO)) and undo[0] == found.id:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(t("Set back to the beginning; their work is kept."), width="content")
            st.button(
                t("Undo"),
                icon=":material/undo:",
                on_click=shell.shielded(_bring_back),
                args=(found,),
                key="class_undo_go",
            )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader(t("Where everybody is"), anchor=False)
        projector.scores_toggle(found, "class_scores")
    _board(found.id)
    _one(found)
    st.subheader(t("The map of the class"), anchor=False)
    _map(found)
    _end(found)


def _door(found: Classroom) -> None:
    where = address(found.code)
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="large", key="class_door"):
        st.markdown(
            f'<img src="{qr(where)}" width="150" alt="{html.escape(t("QR code of the address for learners"))}">',
            unsafe_allow_html=True,
            width="content",
        )
        with st.container(gap="small"):
            st.markdown(t("Learners open"))
            st.code(where, language=None)
            st.markdown(t("or type the code **{shown_code}** on the page Class.", shown_code=shown_code(found.code)))
            if is_loopback(st.get_option("server.address") or "0.0.0.0"):
                st.warning(
                    t(
                        "This app answers only to this computer, so learners cannot open that address. Stop it and "
                        "start it with `tessera app --class`."
                    ),
                    icon=":material/wifi_off:",
                )
        st.button(
            t("Projector view"), icon=":material/cast:", key="class_project", on_click=projector.show, args=(True,)
        )


def _orders(found: Classroom) -> None:
    def put(name: str, value: object) -> None:
        store.change(found.id, **{name: value})

    with st.container(border=True, key="class_orders"):
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            st.button(
                t("Go on") if found.paused else t("Pause all"),
                type="primary" if found.paused else "secondary",
                icon=":material/play_arrow:" if found.paused else ":material/pause:",
                key="class_pause",
                on_click=shell.shielded(put),
                args=("paused", not found.paused),
                help=t("Learners see that you are explaining something. Nothing of theirs is lost."),
            )
            st.button(
                t("Let newcomers in") if found.locked else t("Close to newcomers"),
                icon=":material/lock_open:" if found.locked else ":material/lock:",
                key="class_lock",
                on_click=shell.shielded(put),
                args=("locked", not found.locked),
            )
        if found.tasks:
            _task(found)
        if found.lesson and (lesson := lessons.find(found.lesson)) is not None:
            texts = lesson.words().steps
            with st.container(horizontal=True, vertical_alignment="bottom"):
                step = st.selectbox(
                    t("Step of the lesson"),
                    [one.id for one in lesson.steps],
                    format_func=lambda one: texts[one].title,
                    key=f"class_step_{found.id}",
                )
                if st.button(t("Bring all to this step"), icon=":material/input:", key="class_push"):
                    left = board.push_step(found, step)
                    store.change(found.id, said=t("We are at: {title}", title=texts[step].title)[:300])
                    if left:
                        st.warning(
                            t("Not brought there: {join}.", join=humanize.escape(", ".join(left))),
                            icon=":material/warning:",
                        )
        with st.form("class_say", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            text = st.text_input(t("Say something to all"), found.said, max_chars=300, key=f"class_said_{found.id}")
            if st.form_submit_button(t("Show it"), icon=":material/campaign:"):
                store.change(found.id, said=text.strip())
                st.rerun()


def _task(found: Classroom) -> None:
    key = f"class_task_{found.id}"

    def at() -> None:
        store.change(found.id, task=st.session_state[key])

    st.selectbox(
        t("Task that all are at"),
        [None, *range(len(found.tasks))],
        index=0 if found.task is None else found.task + 1,
        format_func=lambda n: t("Everybody at their own pace") if n is None else f"{n + 1}. {found.tasks[n]}",
        key=key,
        on_change=shell.shielded(at),
    )


@st.fragment(run_every=projector.LOOK_SECONDS)
@shell.shielded
def _board(class_id: str) -> None:
    found = store.read(class_id)
    rows = board.rows(found)
    if not rows:
        st.markdown(t("Nobody has joined yet."))
        return
    now = time.time()
    here = sum(row.state in ("working", "stuck") for row in rows)
    st.caption(
        t(
            "{rows} joined, {here} here now, {sum} labels.",
            rows=len(rows),
            here=here,
            sum=sum(row.labels for row in rows),
        )
    )
    table = pd.DataFrame(
        {
            "Learner": [row.nickname for row in rows],
            "Now": [t(_STATES[row.state]) for row in rows],
            "Labels": [row.labels for row in rows],
            "Classes": [row.classes for row in rows],
            "At": [
                t("{step} of {steps}: {doing}", step=row.step, steps=row.steps, doing=row.doing)
                if row.steps
                else row.doing
                for row in rows
            ],
            "Places checked": [row.answers for row in rows],
            "Last change": [humanize.ago(now - row.changed) if row.changed else "" for row in rows],
        }
    )
    if not any(row.doing for row in rows):
        table = table.drop(columns="At")
    if not any(row.answers for row in rows):
        table = table.drop(columns="Places checked")
    if found.scores:
        order = scores.of_class(found, rows)
        table = table.assign(**scores.columns([row.nickname for row in rows], order)).astype({"Rank": "Int64"})
        # By rank, and whoever has none after them as they came.
        table = table.sort_values("Rank", kind="stable", na_position="last")
    tables.show(table, hide_index=True, width="stretch", key=f"class_board_{class_id}")
    if found.scores:
        st.caption(t(scores.NOTE))


def _one(found: Classroom) -> None:
    if not found.members:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(t("Learner"), [one.nickname for one in found.members], key=f"class_one_{found.id}")
        shown = found.shown == name
        if st.button(
            t("Stop showing") if shown else t("Show their map to all"),
            icon=":material/visibility_off:" if shown else ":material/visibility:",
            key="class_show",
        ):
            store.change(found.id, shown="" if shown else name)
            st.rerun()
        if st.button(
            t("New word"), icon=":material/key:", key="class_word_new", help=t("For somebody who has lost theirs.")
        ):
            st.session_state[_WORD] = (name, joining.renew_word(found.id, name))
        if st.button(t("Set back"), icon=":material/restart_alt:", key="class_back_one"):
            _set_back(found, [name])
        if st.button(t("Set all back"), icon=":material/restart_alt:", type="tertiary", key="class_back_all"):
            _confirm_all(found)
    if word := st.session_state.get(_WORD):
        st.info(
            t("{word} comes back with the word **{word2}**.", word=humanize.escape(word[0]), word2=word[1]),
            icon=":material/key:",
        )


@speech.dialog(later("Set everybody back?"))
def _confirm_all(found: Classroom) -> None:
    st.markdown(t("All labels of all learners are taken away, and the lesson begins anew. You can undo it."))
    if st.button(t("Set all back"), type="primary", key="class_back_all_go"):
        _set_back(found, None)


def _set_back(found: Classroom, names: list[str] | None) -> None:
    st.session_state[_UNDO] = (found.id, board.set_back(found, names))
    st.rerun()


def _bring_back(found: Classroom) -> None:
    undo = st.session_state.pop(_UNDO, None)
    if undo:
        board.bring_back(found, undo[1])


# ---------------------------------------------------------------- together


def _map(found: Classroom) -> None:
    key = f"class_map_{found.id}"
    st.markdown(
        t("Everybody's maps vote in every place. Make it when the class has labelled, and again whenever you like.")
    )
    if st.button(
        t("Make the map of the class"), icon=":material/layers:", key="class_map_make", disabled=not found.members
    ):
        st.session_state[key] = _stamps(found)
    stamps = st.session_state.get(key)
    if not stamps:
        return
    start = joining.start_project(found)
    scene = state.scene_for(start, year_of(start))
    known: dict[str, Work] = st.session_state.get(f"{key}_known", {})

    def work(progress: Progress, cancelled: Cancel) -> tuple[list[Work], list[str]]:
        works, failed = [], []
        for n, member in enumerate(found.members):
            try:
                project = board.project_of(member)
                works.append(read_work(project, scene.raster, member.nickname, known=known, cancelled=cancelled))
            except TesseraError as error:
                failed.append(f"{member.nickname}: {relay(error)}")
            progress(n + 1, len(found.members), member.nickname)
        return works, failed

    done = results.result_of("classroom", f"{key}|{stamps}", t("Reading everybody's work"), work, t("Read again"))
    if done is None:
        return
    works, failed = done
    st.session_state[f"{key}_known"] = {one.stamp: one for one in works}
    for sentence in failed:
        st.warning(humanize.escape(relay(sentence)), icon=":material/warning:")
    if works:
        from tessera_core.ui.classroom import class_map
        from tessera_core.ui.components import view_map

        view_map.loader()
        class_map.show(works, start, "classroom")


def _stamps(found: Classroom) -> str:
    rows = board.rows(found)
    return "|".join(f"{row.project}:{row.changed}" for row in rows)


# ---------------------------------------------------------------- the end


def _end(found: Classroom) -> None:
    with st.container(horizontal=True, key="class_end"):
        if found.state == "open":
            if st.button(t("End the class"), icon=":material/flag:", key="class_end_go"):
                store.change(found.id, state="ended", paused=False, shown="", said="")
                st.rerun()
        elif st.button(t("Open it again"), icon=":material/undo:", key="class_reopen"):
            store.change(found.id, state="open")
            st.rerun()
        st.download_button(
            t("Save all work (.zip)"),
            lambda: board.export_class(found),
            f"{safe_name(found.name)}.zip",
            "application/zip",
            icon=":material/download:",
            # Nothing on the page is another for it.
            on_click="ignore",
            key="class_export",
        )
        if st.button(t("Delete the class"), icon=":material/delete:", type="tertiary", key="class_delete"):
            _confirm_delete(found)
    st.caption(
        t(
            "What is kept: nicknames, labels, answers and when they were made, on this server alone. "
            "Deleting the class deletes the learners' projects with it."
        )
    )


@speech.dialog(later("Delete the class?"))
def _confirm_delete(found: Classroom) -> None:
    st.markdown(
        t(
            "**{name}** with the projects of its {members} learners is deleted for good. Save all work "
            "first if anybody may want it.",
            name=humanize.escape(found.name),
            members=len(found.members),
        )
    )
    if st.button(t("Delete for good"), type="primary", key="class_delete_go"):
        count = board.delete_class(found)
        st.session_state.pop(_CHOSEN, None)
        st.toast(t("Deleted, with {count} projects.", count=count))
        st.rerun()
