"""A report in words: one document of headings, sentences, lists and tables, which HTML and PDF both show.

What is missing is said: a map that nobody checked begins with that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tessera_core.export.product import SIMULATED, UNCHECKED, confidence_note
from tessera_core.export.report.model import (
    Answers,
    Deviations,
    Estimate,
    Interpreters,
    MappedClass,
    Report,
    Validation,
)

# Kinds of heads in words that need no glossary.
CLASSIFIERS = {
    "prototype": "class means (prototype)",
    "ridge": "linear (ridge)",
    "logistic": "linear (logistic regression)",
    "knn": "nearest neighbours",
    "forest": "random forest",
    "boosting": "gradient-boosted trees",
    "mlp": "small neural network",
    "unet": "U-Net, a neural network that sees shapes",
}
NOT_VALIDATED = "This map is not validated: no number below says how right it is."
# Beyond so many classes the matrix is wider than a page.
MATRIX_CLASSES = 10
KINDS = {
    "point": "points",
    "brush": "brush strokes",
    "polygon": "polygons",
    "rectangle": "rectangles",
    "erase": "erased",
}
REFERENCES = (
    "Olofsson, P., Foody, G. M., Herold, M., Stehman, S. V., Woodcock, C. E., Wulder, M. A. (2014). Good practices for estimating "
    "area and assessing accuracy of land change. Remote Sensing of Environment 148, 42-57.",
    "Stehman, S. V. (2014). Estimating area and map accuracy for stratified random sampling when the strata are different from the "
    "map classes. International Journal of Remote Sensing 35, 4923-4939.",
    "Manski, C. F. (1989). Anatomy of the selection problem. Journal of Human Resources 24, 343-360 (bounds where places could not "
    "be told).",
)
SECOND_REFERENCES = (
    "Dawid, A. P., Skene, A. M. (1979). Maximum likelihood estimation of observer error-rates using the EM algorithm. Applied "
    "Statistics 28, 20-28.",
    "Stehman, S. V., Mousoupetros, J., McRoberts, R. E., et al. (2022). Incorporating interpreter variability into estimation of "
    "the total variance of land cover area estimates under simple random sampling. Remote Sensing of Environment 269, 112806.",
)


@dataclass(frozen=True)
class Line:
    """An item of a list: a sentence that stands out, if any, and plain text."""

    text: str
    strong: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first columns are text and the others numbers.

    Attributes:
        head: titles of the columns.
        rows: texts.
        texts: how many columns, from the first, are text.
        colours: of the rows' classes, shown before them; empty for none.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1
    colours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it: paragraphs, lists and tables in their order; ``aside`` is for colleagues."""

    title: str
    blocks: tuple[str | tuple[Line, ...] | Table, ...]
    aside: bool = False


@dataclass(frozen=True)
class Document:
    """A report in words.

    Attributes:
        title, lead: at its head.
        warning: what nobody may overlook; empty for none.
        picture_alt, caption: of the map's picture.
        sections: in their order.
    """

    title: str
    lead: str
    warning: str
    picture_alt: str
    caption: str
    sections: tuple[Section, ...]


def document(report: Report) -> Document:
    """The report of a map."""
    return Document(
        report.title,
        _lead(report),
        SIMULATED if report.simulated else "",
        "The map in the colours of its classes, with legend, scale and north",
        _caption(report),
        tuple(_sections(report)),
    )


def record(report: Report) -> Document:
    """A record of a learner's work: their map, what they found of it, and what they finished; and what it is not."""
    whole, learner = document(report), report.learner
    name = learner.name if learner is not None else ""
    lines = list(_goodness(report))
    lesson = learner.lesson if learner is not None else None
    work = [f"{report.labels.count} places were labelled, in {len([c for c in report.classes if c.labels])} classes."]
    validation = report.validation
    if validation is not None:
        work.append(
            f"{validation.answered} of {validation.places} places drawn by chance were looked at and answered to check the map."
        )
    if lesson is not None:
        end = "finished" if lesson.finished else "begun"
        work.append(
            f"The lesson “{lesson.name}” was {end}: of {lesson.steps} steps {lesson.done} with a task were done alone, "
            f"{lesson.helped} with help, {lesson.skipped} skipped."
        )
    if learner is not None and learner.others:
        work.append(f"In other projects of the same computer these lessons were finished: {', '.join(learner.others)}.")
    return Document(
        f"Record of work: {name}" if name else "Record of work",
        f"This record shows a map that was made with {report.software}: {report.title}. {whole.lead}",
        whole.warning,
        whole.picture_alt,
        whole.caption,
        (
            Section("What was done", (tuple(Line(text) for text in work),)),
            Section("How good the map is", (tuple(lines),)),
            Section(
                "What this record is not",
                (
                    "It is no examination and nobody's certificate: the name was typed in by whoever made the file, and nobody "
                    "watched the work. What it says of the map was computed from the project, and can be computed again: "
                    "“tessera verify” with this file and the project, or “Check a report” where files are exported.",
                ),
            ),
            Section("Where it comes from", (source_line(report),)),
        ),
    )


def _sections(report: Report) -> Iterator[Section]:
    yield Section("How good it is", (tuple(_goodness(report)),))
    yield Section("Classes", tuple(_classes(report)))
    if report.validation is not None:
        yield Section("What was checked, and how", tuple(_design(report.validation)))
    yield Section("What to mind", (tuple(_caveats(report)),))
    yield Section("Where it comes from", (source_line(report),))
    yield Section("For colleagues: how it was made", tuple(_colleagues(report)), aside=True)


def source_line(report: Report) -> str:
    """Where a map comes from, and when the report was made, in one line."""
    source = report.source
    return f"Embeddings: {source.title}, {source.origin}. Made with {report.software} on {_day(report)}."


def _day(report: Report) -> str:
    day = dt.date.fromisoformat(report.made_on)
    return f"{day.day} {day:%B %Y}"


def _lead(report: Report) -> str:
    ground = report.ground
    size = f"{ground.height:,} x {ground.width:,} pixels" if ground.km2 is None else f"{ground.km2:,.1f} km²"
    used = [one for one in report.classes if one.labels]
    year = f" in {report.year}" if report.year else ""
    return (
        f"A map of {size} in {len(used)} classes. It was learnt from {sum(one.labels for one in used)} labels, places of which "
        f"somebody said what is there, and from what satellites saw of every place{year}."
    )


def _caption(report: Report) -> str:
    over = " Its classes lie over a photograph of the region." if report.photo else ""
    if report.ground.bounds is None:
        return f"The map, {_day(report)}.{over} Its place on Earth is not known."
    west, south, east, north = report.ground.bounds
    return (
        f"The map, {_day(report)}.{over} From {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f} (longitude, latitude)."
    )


def accuracy_sentence(validation: Validation) -> str:
    """How much of the map is right, in the words of the page; empty where nothing follows yet."""
    overall = validation.overall
    if overall is None:
        return ""
    return f"Checked at {validation.answered} places drawn by chance: the map is right at {_percent(overall)} of the region."


def _goodness(report: Report) -> Iterator[Line]:
    checked = report.checked
    if report.damaged:
        yield Line(report.damaged, NOT_VALIDATED)
    elif checked is not None:
        yield Line("", accuracy_sentence(checked))
        yield from (Line(note) for note in checked.notes)
    elif report.validation is not None:
        yield Line("Places were drawn, but too few of them have an answer for anything to follow.", NOT_VALIDATED)
    else:
        yield Line(UNCHECKED, NOT_VALIDATED)
    score = report.score
    if score is None:
        return
    sentences = [line for line in score.sentences if line != score.gap]
    if score.accuracy is None:
        yield Line(" ".join(sentences), "This map was not checked against labels held out.")
        return
    yield from (Line(sentence) for sentence in sentences)
    yield Line(
        "That score is of your labels, each left out in turn; labels chosen by hand are no fair draw of the map."
    )


def _classes(report: Report) -> Iterator[str | Table]:
    placed = report.ground.pixel_ha is not None
    yield Table(
        ("Class", "Hectares" if placed else "Pixels", "Share", "Labels"),
        tuple((one.name, _size(one), f"{100 * one.share:.1f} %", f"{one.labels}") for one in report.classes),
        colours=tuple(one.colour for one in report.classes),
    )
    checked = report.checked
    if checked is None:
        yield (
            "These areas count the map as it is; where it confuses classes, they are wrong by as much. They come without an "
            "error bar."
        )
        return
    yield (
        "The table above counts the map as it is, mistakes included. Corrected by what people saw at places drawn by chance, "
        "the classes cover:"
    )
    yield Table(
        ("Class", f"On the map, {checked.unit}", f"Truly, {checked.unit}", "95 % sure", "Places"),
        tuple(
            (one.name, f"{one.mapped:,.1f}", _number(one.area.value), _range(one.area, "{:,.1f}"), f"{one.places}")
            for one in checked.classes
        ),
    )
    if checked.worst is not None:
        yield "Whatever the places are that could not be told, the classes cover between (95 % sure):"
        yield Table(
            ("Class", f"At least, {checked.unit}", f"At most, {checked.unit}"),
            tuple(
                (one.name, *(f"{end:,.1f}" for end in one.worst)) for one in checked.classes if one.worst is not None
            ),
        )
    yield (
        "Right of mapped: of the ground mapped as the class, how much is it. Found: of the class on the ground, how much is "
        "mapped so. In brackets the interval that is 95 % sure."
    )
    yield Table(
        ("Class", "Right of mapped", "Found"),
        tuple((one.name, _share(one.users), _share(one.producers)) for one in checked.classes),
    )


def _size(one: MappedClass) -> str:
    return f"{one.pixels:,}" if one.hectares is None else f"{one.hectares:,.1f}"


DESIGNS = {
    "stratified": "drawn by chance within each class of the map (a stratified random sample)",
    "random": "drawn by chance, every pixel with the same chance (a simple random sample)",
    "systematic": "on a square net with a start by chance (a systematic sample, judged as if it were a random one)",
}


UNITS = {"pixel": "the pixel", "block": "the 3 x 3 pixels around it"}
RULES = {"majority": "covers most of", "centre": "lies at the centre of"}
_UNKNOWN = "not recorded"


def _behind(answers: Answers) -> Iterator[str]:
    """Who answered, when, how sure, and from what; what was not recorded is said."""
    yield f"Interpreters: {_listed(answers.interpreters) or _UNKNOWN}."
    yield f"Answered: {' to '.join(dict.fromkeys(answers.days)) if answers.days else _UNKNOWN}."
    yield f"How sure: {_listed(answers.confidence) or _UNKNOWN}."
    seen = _listed(answers.evidence) or _UNKNOWN
    yield f"Looked at: {seen}{'' if answers.evidence_dates is None else _dated(answers.evidence_dates)}."
    if answers.reasons:
        yield f"Why places could not be told: {_listed(answers.reasons)}."


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{text} ({n})" for text, n in counts.items())


def _dated(dates: tuple[str, str]) -> str:
    return f", dated {' to '.join(dict.fromkeys(dates))}"


def _design(validation: Validation) -> Iterator[str | Table | tuple[Line, ...]]:
    yield (
        f"{validation.places} places were {DESIGNS[validation.design]}; {validation.answered} of them have an answer. At each "
        f"place somebody said which class {RULES[validation.rule]} {UNITS[validation.place]}; the map is judged by the same."
    )
    if validation.design == "stratified":
        yield Table(
            ("Drawn from", "Pixels", "Places", "Answered", "Cannot tell"),
            tuple(
                (one.name, f"{one.pixels:,}", f"{one.places}", f"{one.answered}", f"{one.cannot_tell}")
                for one in validation.strata
            ),
        )
    yield tuple(Line(text) for text in _behind(validation.answers))
    if validation.interpreters is not None:
        yield from _second(validation.interpreters, validation)
    lines = tuple(Line(text) for text in _deviations(validation.deviations))
    yield "What went otherwise than planned:" if lines else "Nothing went otherwise than planned."
    if lines:
        yield lines
    if 0 < len(validation.ids) <= MATRIX_CLASSES:
        names = {one.id: one.name for one in validation.classes}
        yield "What the map says (rows) and what was seen (columns), in places:"
        yield Table(
            ("Map says", *(names[k] for k in validation.ids)),
            tuple((names[k], *(f"{n}" for n in row)) for k, row in zip(validation.ids, validation.counts, strict=True)),
        )
    elif validation.ids:
        yield f"What is taken for what, of {len(validation.ids)} classes, is in the data that this file carries."


def _second(found: Interpreters, validation: Validation) -> Iterator[str | Table]:
    """How far people agreed, and the numbers with their errors in them beside those without."""
    differ = found.doubled - found.agreed
    yield (
        f"{found.doubled} places were answered by two people or more, neither seeing what the other said; at {found.agreed} they "
        f"said the same. Of the pairs of answers {100 * found.quantity:.0f} % differ in how often a class is said, "
        f"{100 * found.allocation:.0f} % in where. Settled afterwards: {found.settled}; left open: {found.open}."
    )
    if 0 < len(found.ids) <= MATRIX_CLASSES and differ:
        names = {one.id: one.name for one in validation.classes} | {one.id: one.name for one in found.classes}
        yield "What two people said of one place (rows: whose name comes first), in pairs of answers:"
        yield Table(
            ("One said", *(names.get(k, str(k)) for k in found.ids)),
            tuple(
                (names.get(k, str(k)), *(f"{n}" for n in row)) for k, row in zip(found.ids, found.counts, strict=True)
            ),
        )
    if found.overall is None or validation.overall is None:
        return
    wrong = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.wrong.items())
    yield (
        f"From where they differ follows how often people are likely wrong here: {wrong}. With that in estimate and interval the "
        f"map is right at {_percent(found.overall)}; from the answers as they are, at {_percent(validation.overall)}. People's "
        f"errors are {100 * found.added:.0f} % of the variance. They are taken to err independently of each other."
    )
    yield Table(
        ("Class", f"Truly, {validation.unit}", "95 % sure", "Right of mapped", "Found"),
        tuple(
            (one.name, _number(one.area.value), _range(one.area, "{:,.1f}"), _share(one.users), _share(one.producers))
            for one in found.classes
        ),
    )


def _deviations(found: Deviations) -> Iterator[str]:
    if found.open:
        yield f"{found.open} places have not been looked at: the work was stopped before the end."
    if found.cannot_tell:
        yield f"At {found.cannot_tell} places nobody could tell what is there."
    if found.earlier_samples:
        yield f"{found.earlier_samples} earlier samples were drawn and set aside; their answers are not used here."
    if found.moved:
        yield (
            f"The map has changed since the places were drawn: {found.moved} of them are now mapped as another class. The "
            "estimates allow for that."
        )
    if found.labelled:
        yield (
            f"{found.labelled} places lie on ground that was labelled and so taught the map; there it may be better than "
            "elsewhere."
        )


def _caveats(report: Report) -> Iterator[Line]:
    few = [one.name for one in report.classes if one.labels < 5]
    if few:
        yield Line(f"Fewer than five labels: {', '.join(few)}. Treat these classes as sketches.")
    sure = report.confidence
    if sure is not None:
        yield Line(
            f"The map is at least {sure.median} % sure of half of its area, and less than half sure of {100 * sure.below_half:.0f} "
            "% of it. To be sure is not to be right: of what it has never seen, a map may be confidently wrong."
        )
    ground = report.ground
    if ground.empty:
        share = 100 * ground.empty / (ground.height * ground.width)
        yield Line(f"{share:.1f} % of the region has no data ({ground.empty:,} pixels).")
    yield from (Line(text) for text in report.source.warnings)


def _colleagues(report: Report) -> Iterator[str | Table | tuple[Line, ...]]:
    score = report.score
    lines = [score.gap] if score is not None and score.gap else []
    lines.append(f"The confidence is {confidence_note(report.source.temperature)}.")
    yield tuple(Line(line) for line in lines)
    yield "A paragraph for a methods section:"
    yield methods(report)
    checked = report.checked
    two = SECOND_REFERENCES if checked is not None and checked.interpreters is not None else ()
    yield tuple(Line(text) for text in (*REFERENCES, *two)) if checked is not None else ()
    yield Table(("", ""), tuple(_facts(report).items()), texts=2)


def methods(report: Report) -> str:
    """A paragraph that says what was done, to be pasted into a text."""
    source, labels = report.source, report.labels
    observed = f" of {source.year}" if source.year else ""
    parts = [
        f"The {'simulated ' if report.simulated else ''}region was mapped with {source.title} embeddings{observed} "
        f"({source.dataset}; {source.origin}). A classifier ({CLASSIFIERS.get(source.head, source.head)}) was trained on "
        f"{labels.count} labels of {len([one for one in report.classes if one.labels])} classes with {report.software}."
    ]
    score = report.score
    if score is not None and score.accuracy is not None and score.low is not None and score.high is not None:
        parts.append(
            f"With whole places held out in turn, {100 * score.accuracy:.0f} % of the labels were predicted right (95 % interval "
            f"{100 * score.low:.0f} to {100 * score.high:.0f} %, {score.places} places)."
        )
    checked = report.checked
    if checked is None or checked.overall is None:
        parts.append("The map was not validated with a probability sample.")
        return " ".join(parts)
    kind = {"stratified": "stratified random", "random": "simple random", "systematic": "systematic"}[checked.design]
    strata = f" with the {len(checked.strata)} classes of the map as strata" if checked.design == "stratified" else ""
    parts.append(
        f"Accuracy and areas were estimated from a {kind} sample of {checked.places} pixels{strata}, of which "
        f"{checked.answered} were interpreted (the class that {RULES[checked.rule]} {UNITS[checked.place]}), with the "
        "stratified estimators of Stehman (2014), which are those of Olofsson et al. (2014) where strata are map classes. "
        f"Overall accuracy is {_percent(checked.overall)}. Intervals invert a score test with a saddle-point bound and so hold "
        "for small samples and for strata without an error; plain standard errors are given beside them in the data."
    )
    two = checked.interpreters
    if two is not None and two.overall is not None:
        parts.append(
            f"{two.doubled} places were interpreted by two people independently ({100 * (two.quantity + two.allocation):.0f} % of "
            f"pairs disagreed). With interpreter error estimated by the latent class model of Dawid and Skene (1979) and its "
            f"uncertainty added (Louis 1982; Zou and Donner 2008), overall accuracy is {_percent(two.overall)}."
        )
    return " ".join(parts)


def _facts(report: Report) -> dict[str, str]:
    source, ground, labels = report.source, report.ground, report.labels
    facts = {
        "Embeddings": source.dataset,
        "Year": str(source.year or ""),
        "Source": "simulated (the demo region)" if report.simulated else source.source,
        "Pixels": f"{ground.height:,} rows, {ground.width:,} columns",
        "Coordinate system": ground.crs,
        "Fingerprint of the model (SHA-256)": source.checksum[:16],
        "Fingerprint of the map (SHA-256)": ground.map_sha256[:16],
        "Fingerprint of the labels (SHA-256)": labels.sha256[:16],
        "Labels drawn as": ", ".join(f"{n} {KINDS.get(kind, kind)}" for kind, n in labels.by_kind.items()),
        "Classifier": CLASSIFIERS.get(source.head, source.head),
        "Embeddings made with": source.software,
        "Report made with": report.software,
        "Project": report.project_id,
    }
    return {key: value for key, value in facts.items() if value}


def _percent(share: Estimate) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "an unknown share"
    return f"{100 * share.value:.0f} % (95 % sure: {100 * share.low:.0f} to {100 * share.high:.0f} %)"


def _share(share: Estimate) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "no place"
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.1f}"


def _range(one: Estimate, form: str) -> str:
    if one.low is None or one.high is None:
        return "not known"
    return f"{form.format(one.low)} to {form.format(one.high)}"
