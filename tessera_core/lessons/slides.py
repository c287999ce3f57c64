"""Slides of lessons: one HTML file that needs no network, moved through with keys, clicks or swipes, and printed a slide a page.

A step is a slide; a question has a second one with the answer; a picture that moves has one for each of its frames.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tessera_core._utils.atomic import atomic_path
from tessera_core.language import ENGLISH, known, t, using
from tessera_core.lessons.model import Lesson, PictureTexts, Question, StepTexts

_STYLE = """
:root { color-scheme: light; --ink: #1c2426; --accent: #0b7a75; }
* { box-sizing: border-box; }
body { margin: 0; font: 400 clamp(18px, 2.6vmin + 4px, 40px)/1.45 system-ui, sans-serif; color: var(--ink); background: #fff; }
section { display: none; min-height: 100vh; padding: 6vmin 8vmin 9vmin; flex-direction: column; justify-content: center; }
section.now { display: flex; }
h1 { font-size: 1.8em; line-height: 1.15; margin: 0 0 .6em; } h2 { font-size: 1.4em; line-height: 1.2; margin: 0 0 .6em; }
p, ul, ol { margin: 0 0 .7em; max-width: 46em; } li { margin-bottom: .35em; } small { color: #5b6470; font-size: .75em; }
.right { color: var(--accent); font-weight: 700; } svg { max-height: 62vh; width: 100%; }
footer { position: fixed; right: 3vmin; bottom: 2vmin; font-size: .55em; color: #5b6470; }
@media print {
  @page { size: A4 landscape; margin: 0; }
  body { font-size: 20pt; }
  section { display: flex; height: 100vh; min-height: 0; break-after: page; }
  footer { display: none; }
}
"""
_SCRIPT = """
const slides = [...document.querySelectorAll("section")], foot = document.querySelector("footer");
let now = -1;
function show(n) {
  now = Math.max(0, Math.min(slides.length - 1, n));
  slides.forEach((slide, at) => slide.classList.toggle("now", at === now));
  foot.textContent = `${now + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${now + 1}`);
  scrollTo(0, 0);
}
const steps = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, Enter: 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1, Backspace: -1 };
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Home") show(0);
  else if (event.key === "End") show(slides.length - 1);
  else if (event.key in steps) show(now + steps[event.key]);
  else return;
  event.preventDefault();
});
addEventListener("click", (event) => show(now + (event.clientX < innerWidth / 4 ? -1 : 1)));
show((parseInt(location.hash.slice(1)) || 1) - 1);
"""
_SAFE = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def write_slides(lessons: Sequence[Lesson], out: Path, language: str = "en", answers: bool = True) -> int:
    """Write the slides of lessons one after the other; returns how many there are.

    Args:
        lessons: in order.
        out: the .html file.
        language: of the texts; English where a lesson has none in it.
        answers: a second slide with the right choice behind each question.

    Raises:
        InputError: a picture cannot be read.
        ExportError: the file cannot be written.
    """
    slides = [slide for lesson in lessons for slide in _of_lesson(lesson, language, answers)]
    title = " - ".join(lesson.words(language).title for lesson in lessons)
    body = "\n".join(f"<section>{slide}</section>" for slide in slides)
    page = (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_SAFE}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n<footer></footer>\n<script>{_SCRIPT}</script>\n</body></html>\n"
    )
    with atomic_path(out) as part:
        part.write_text(page, encoding="utf-8")
    return len(slides)


def _of_lesson(lesson: Lesson, language: str, answers: bool) -> Iterator[str]:
    texts = lesson.words(language)
    yield f"<h1>{_text(texts.title)}</h1><p>{_text(texts.summary)}</p>{_list(texts.goals)}"
    for step in lesson.steps:
        words = texts.steps[step.id]
        told = "".join(f"<p>{_text(part)}</p>" for part in words.text)
        # What waits for the app is a task, and the rest is read.
        task = "" if step.check is None or words.question else f"<small>{html.escape(_task(language))}</small>"
        yield f"<h2>{_text(words.title)}</h2>{told}{_asked(words)}{task}"
        if answers and step.question is not None and step.question.right is not None:
            yield f"<h2>{_text(words.question)}</h2>{_answered(words, step.question)}"
        if step.picture:
            yield from _frames(lesson.picture(step.picture), texts.pictures[step.picture])
    yield f"<h2>{_text(texts.title)}</h2>{_list(texts.key_points)}"


def _task(language: str) -> str:
    with using(language if known(language) else ENGLISH):
        return t("In the studio")


def _text(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text))


def _list(items: Sequence[str], kind: str = "ul") -> str:
    return f"<{kind}>{''.join(f'<li>{_text(item)}</li>' for item in items)}</{kind}>"


def _asked(words: StepTexts) -> str:
    return f"<p><b>{_text(words.question)}</b></p>{_list(words.choices, 'ol')}" if words.question else ""


def _answered(words: StepTexts, question: Question) -> str:
    items = []
    for number, choice in enumerate(words.choices):
        reply = f"<br><small>{_text(words.replies[number])}</small>" if words.replies else ""
        mark = ' class="right"' if number == question.right else ""
        items.append(f"<li{mark}>{_text(choice)}{reply}</li>")
    return f"<ol>{''.join(items)}</ol>"


def _frames(picture: dict[str, Any], texts: PictureTexts) -> Iterator[str]:
    for frame, caption in zip(picture["frames"], texts.captions, strict=True):
        yield f"{drawn(picture, frame, texts)}<p>{_text(caption)}</p>"


def drawn(picture: dict[str, Any], frame: Sequence[Sequence[float]], texts: PictureTexts) -> str:
    """One frame of a picture that moves, as SVG."""
    marks = []
    for (kind, word), values in zip(picture["marks"], frame, strict=True):
        *place, opacity, colour = values
        paint = picture["palette"][int(colour)]
        if not opacity:
            continue
        at = [f"{value:g}" for value in place]
        if kind == "dot":
            marks.append(f'<circle cx="{at[0]}" cy="{at[1]}" r="{at[2]}" fill="{paint}" opacity="{opacity:g}"/>')
        elif kind == "cell":
            box = f'x="{at[0]}" y="{at[1]}" width="{at[2]}" height="{at[3]}"'
            marks.append(f'<rect {box} fill="{paint}" opacity="{opacity:g}"/>')
        elif kind == "line":
            ends = f'x1="{at[0]}" y1="{at[1]}" x2="{at[2]}" y2="{at[3]}" stroke-width="{at[4]}"'
            marks.append(f'<line {ends} stroke="{paint}" opacity="{opacity:g}"/>')
        else:
            said = html.escape(texts.words[word])
            place_of = f'x="{at[0]}" y="{at[1]}" font-size="{at[2]}" text-anchor="middle"'
            marks.append(f'<text {place_of} fill="#1c2426" opacity="{opacity:g}">{said}</text>')
    size = f'viewBox="0 0 {picture["width"]} {picture["height"]}"'
    return f'<svg {size} role="img" aria-label="{html.escape(texts.alt)}">{"".join(marks)}</svg>'
