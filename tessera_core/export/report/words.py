"""A report in words: one document of headings, sentences, lists and tables, which HTML and PDF both show.

What is missing is said: a map that nobody checked begins with that.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Concatenate

from tessera_core.export.product import SIMULATED, UNCHECKED, confidence_note
from tessera_core.export.report.model import (
    Answers,
    Certified,
    ComparedMaps,
    Deviations,
    Estimate,
    Interpreters,
    MappedClass,
    Report,
    Validation,
)
from tessera_core.language import ENGLISH, day_text, known, later, localized, numeral, percentage, relay, t, tn, using
from tessera_core.periods import is_period, period

# Kinds of heads in words that need no glossary.
CLASSIFIERS = {
    "prototype": later("class means (prototype)"),
    "auto": later("linear (class means with logistic regression, as the labels say)"),
    "ridge": later("linear (ridge)"),
    "logistic": later("linear (logistic regression)"),
    "knn": later("nearest neighbours"),
    "forest": later("random forest"),
    "boosting": later("gradient-boosted trees"),
    "mlp": later("small neural network"),
    "unet": later("U-Net, a neural network that sees shapes"),
}
NOT_VALIDATED = later("This map is not validated: no number below says how right it is.")
# Beyond so many classes the matrix is wider than a page.
MATRIX_CLASSES = 10
KINDS = {
    "point": later("points"),
    "brush": later("brush strokes"),
    "polygon": later("polygons"),
    "rectangle": later("rectangles"),
    "erase": later("erased"),
}
REFERENCES = (
    "Olofsson, P., Foody, G. M., Herold, M., Stehman, S. V., Woodcock, C. E., Wulder, M. A. (2014). "
    "Good practices for estimating area and assessing accuracy of land change. Remote Sensing of "
    "Environment 148, 42-57.",
    "Stehman, S. V. (2014). Estimating area and map accuracy for stratified random sampling when "
    "the strata are different from the map classes. International Journal of Remote Sensing 35, "
    "4923-4939.",
    "Manski, C. F. (1989). Anatomy of the selection problem. Journal of Human Resources 24, 343-360 "
    "(bounds where places could not be told).",
)
SECOND_REFERENCES = (
    "Dawid, A. P., Skene, A. M. (1979). Maximum likelihood estimation of observer error-rates using "
    "the EM algorithm. Applied Statistics 28, 20-28.",
    "Louis, T. A. (1982). Finding the observed information matrix when using the EM algorithm. "
    "Journal of the Royal Statistical Society B 44, 226-233.",
    "Zou, G. Y., Donner, A. (2008). Construction of confidence limits about effect measures: a general "
    "approach. Statistics in Medicine 27, 1693-1702.",
    "Stehman, S. V., Mousoupetros, J., McRoberts, R. E., et al. (2022). Incorporating interpreter "
    "variability into estimation of the total variance of land cover area estimates under simple "
    "random sampling. Remote Sensing of Environment 269, 112806.",
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


type Block = str | tuple[Line, ...] | Table


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it: paragraphs, lists and tables in their order; ``aside`` is for colleagues."""

    title: str
    blocks: tuple[Block, ...]
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


def language_of(report: Report) -> str:
    """The language that a report is told in."""
    return report.language if known(report.language) else ENGLISH


def _told[**P](tell: Callable[Concatenate[Report, P], Document]) -> Callable[Concatenate[Report, P], Document]:
    """Decorator: in the language of the report, whoever reads it."""

    @functools.wraps(tell)
    def inner(report: Report, *args: P.args, **options: P.kwargs) -> Document:
        with using(language_of(report)):
            return tell(report, *args, **options)

    return inner


@_told
def document(report: Report) -> Document:
    """The report of a map."""
    return Document(
        report.title,
        _lead(report),
        relay(SIMULATED) if report.simulated else "",
        t("The map in the colours of its classes, with legend, scale and north"),
        _caption(report),
        tuple(_sections(report)),
    )


@_told
def record(report: Report) -> Document:
    """A record of a learner's work: their map, what they found of it, and what they finished; and what it is not."""
    whole, learner = document(report), report.learner
    name = learner.name if learner is not None else ""
    lines = list(_goodness(report))
    lesson = learner.lesson if learner is not None else None
    work = [
        t(
            "{count} places were labelled, in {value} classes.",
            count=report.labels.count,
            value=len([c for c in report.classes if c.labels]),
        )
    ]
    validation = report.validation
    if validation is not None:
        work.append(
            t(
                "{answered} of {places} places drawn by chance were looked at and answered to check the map.",
                answered=validation.answered,
                places=validation.places,
            )
        )
    if lesson is not None:
        said = (
            later(
                "The lesson “{name}” was finished: of {steps} steps {done} with a task were done alone, {helped} with "
                "help, {skipped} skipped."
            )
            if lesson.finished
            else later(
                "The lesson “{name}” was begun: of {steps} steps {done} with a task were done alone, {helped} with "
                "help, {skipped} skipped."
            )
        )
        work.append(
            t(
                said,
                name=lesson.name,
                steps=lesson.steps,
                done=lesson.done,
                helped=lesson.helped,
                skipped=lesson.skipped,
            )
        )
    if learner is not None and learner.others:
        work.append(
            t(
                "In other projects of the same computer these lessons were finished: {join}.",
                join=", ".join(learner.others),
            )
        )
    return Document(
        t("Record of work: {name}", name=name) if name else t("Record of work"),
        t(
            "This record shows a map that was made with {software}: {title}. {lead}",
            software=report.software,
            title=report.title,
            lead=whole.lead,
        ),
        whole.warning,
        whole.picture_alt,
        whole.caption,
        (
            Section(t("What was done"), (tuple(Line(text) for text in work),)),
            Section(t("How good the map is"), (tuple(lines),)),
            Section(
                t("What this record is not"),
                (
                    t(
                        "It is no examination and nobody's certificate: the name was typed in by whoever made the file, "
                        "and nobody watched the work. What it says of the map was computed from the project, and can be "
                        "computed again: “tessera verify” with this file and the project, or “Check a report” where "
                        "files are exported."
                    ),
                ),
            ),
            Section(t("Where it comes from"), tuple(_came(report))),
        ),
    )


def _sections(report: Report) -> Iterator[Section]:
    yield Section(t("How good it is"), (tuple(_goodness(report)),))
    yield Section(t("Classes"), tuple(_classes(report)))
    if report.validation is not None:
        yield Section(t("What was checked, and how"), tuple(_design(report.validation)))
    if isinstance(report.two_maps, ComparedMaps):
        yield Section(t("Which of two maps?"), tuple(_two_maps(report.two_maps)))
    yield Section(t("What to mind"), (tuple(_caveats(report)),))
    yield Section(t("Where it comes from"), tuple(_came(report)))
    yield Section(t("For colleagues: how it was made"), tuple(_colleagues(report)), aside=True)


def _came(report: Report) -> Iterator[str]:
    yield source_line(report)
    if report.source.seen:
        yield " ".join(relay(sentence) for sentence in report.source.seen)


def source_line(report: Report) -> str:
    """Where a map comes from, and when the report was made, in one line."""
    source = report.source
    return t(
        "Embeddings: {title}, {origin}. Made with {software} on {day}.",
        title=source.title,
        origin=relay(source.origin),
        software=report.software,
        day=_day(report),
    )


def _day(report: Report) -> str:
    day = dt.date.fromisoformat(report.made_on)
    return day_text(day)


def _lead(report: Report) -> str:
    ground = report.ground
    size = (
        t("{height} x {width} pixels", height=numeral(ground.height, ","), width=numeral(ground.width, ","))
        if ground.km2 is None
        else t("{km2} km²", km2=numeral(ground.km2, ",.1f"))
    )
    used = [one for one in report.classes if one.labels]
    year = t(" in {year}", year=_when(report.year)) if report.year else ""
    return t(
        "A map of {size} in {used} classes. It was learnt from {sum} labels, places of which somebody "
        "said what is there, and from what satellites saw of every place{year}.",
        size=size,
        used=len(used),
        sum=sum(one.labels for one in used),
        year=year,
    )


def _caption(report: Report) -> str:
    over = t(" Its classes lie over a photograph of the region.") if report.photo else ""
    if report.ground.bounds is None:
        return t("The map, {day}.{over} Its place on Earth is not known.", day=_day(report), over=over)
    west, south, east, north = report.ground.bounds
    return t(
        "The map, {day}.{over} From {west}, {south} to {east}, {north} (longitude, latitude).",
        day=_day(report),
        over=over,
        west=numeral(west, ".4f"),
        south=numeral(south, ".4f"),
        east=numeral(east, ".4f"),
        north=numeral(north, ".4f"),
    )


def accuracy_sentence(validation: Validation) -> str:
    """How much of the map is right, in the words of the page; empty where nothing follows yet."""
    overall = validation.overall
    if overall is None:
        return ""
    return t(
        "Checked at {answered} places drawn by chance: the map is right at {percent} of the region.",
        answered=validation.answered,
        percent=_percent(overall),
    )


def _goodness(report: Report) -> Iterator[Line]:
    checked = report.checked
    if report.damaged:
        yield Line(relay(report.damaged), t(NOT_VALIDATED))
    elif checked is not None:
        yield Line("", accuracy_sentence(checked))
        yield from (Line(relay(note)) for note in checked.notes)
        if isinstance(checked.certified, Certified):
            yield from (Line(relay(sentence)) for sentence in checked.certified.sentences)
    elif report.validation is not None:
        yield Line(t("Places were drawn, but too few of them have an answer for anything to follow."), t(NOT_VALIDATED))
    else:
        yield Line(relay(UNCHECKED), t(NOT_VALIDATED))
    score = report.score
    if score is None:
        return
    sentences = [line for line in score.sentences if line != score.gap]
    if score.accuracy is None:
        yield Line(" ".join(map(relay, sentences)), t("This map was not checked against labels held out."))
        return
    yield from (Line(relay(sentence)) for sentence in sentences)
    yield Line(
        t("That score is of your labels, each left out in turn; labels chosen by hand are no fair draw of the map.")
    )


def _classes(report: Report) -> Iterator[str | Table]:
    placed = report.ground.pixel_ha is not None
    yield Table(
        (t("Class"), t("Hectares") if placed else t("Pixels"), t("Share"), t("Labels")),
        tuple((one.name, _size(one), f"{percentage(one.share, 1)} %", f"{one.labels}") for one in report.classes),
        colours=tuple(one.colour for one in report.classes),
    )
    checked = report.checked
    if checked is None:
        yield (
            t(
                "These areas count the map as it is; where it confuses classes, they are wrong by as much. They "
                "come without an error bar."
            )
        )
        return
    yield (
        t(
            "The table above counts the map as it is, mistakes included. Corrected by what people saw at "
            "places drawn by chance, the classes cover:"
        )
    )
    yield Table(
        (
            t("Class"),
            t("On the map, {unit}", unit=checked.unit),
            t("Truly, {unit}", unit=checked.unit),
            t("95 % sure"),
            t("Places"),
        ),
        tuple(
            (
                one.name,
                numeral(one.mapped, ",.1f"),
                _number(one.area.value),
                _range(one.area, "{:,.1f}"),
                f"{one.places}",
            )
            for one in checked.classes
        ),
    )
    if checked.worst is not None:
        yield t("Whatever the places are that could not be told, the classes cover between (95 % sure):")
        yield Table(
            (t("Class"), t("At least, {unit}", unit=checked.unit), t("At most, {unit}", unit=checked.unit)),
            tuple(
                (one.name, *(numeral(end, ",.1f") for end in one.worst))
                for one in checked.classes
                if one.worst is not None
            ),
        )
    yield (
        t(
            "Right of mapped: of the ground mapped as the class, how much is it. Found: of the class on the "
            "ground, how much is mapped so. In brackets the interval that is 95 % sure."
        )
    )
    yield Table(
        (t("Class"), t("Right of mapped"), t("Found")),
        tuple((one.name, share_text(one.users), share_text(one.producers)) for one in checked.classes),
    )


def _size(one: MappedClass) -> str:
    return numeral(one.pixels, ",") if one.hectares is None else numeral(one.hectares, ",.1f")


DESIGNS = {
    "stratified": later("drawn by chance within each class of the map (a stratified random sample)"),
    "random": later("drawn by chance, every pixel with the same chance (a simple random sample)"),
    "systematic": later(
        "on a square net with a start by chance (a systematic sample, judged as if it were a random one)"
    ),
}


UNITS = {"pixel": later("the pixel"), "block": later("the 3 x 3 pixels around it")}
RULES = {"majority": later("covers most of"), "centre": later("lies at the centre of")}
_UNKNOWN = later("not recorded")


def _behind(answers: Answers) -> Iterator[str]:
    """Who answered, when, how sure, and from what; what was not recorded is said."""
    yield t("Interpreters: {value}.", value=_listed(answers.interpreters) or t(_UNKNOWN))
    yield t("Answered: {value}.", value=t(" to ").join(dict.fromkeys(answers.days)) if answers.days else t(_UNKNOWN))
    yield t("How sure: {value}.", value=_listed(answers.confidence) or t(_UNKNOWN))
    seen = _listed(answers.evidence) or t(_UNKNOWN)
    yield t(
        "Looked at: {seen}{dated}.",
        seen=seen,
        dated="" if answers.evidence_dates is None else _dated(answers.evidence_dates),
    )
    if answers.reasons:
        yield t("Why places could not be told: {listed}.", listed=_listed(answers.reasons))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{text} ({n})" for text, n in counts.items())


def _dated(dates: tuple[str, str]) -> str:
    return t(", dated {join}", join=t(" to ").join(dict.fromkeys(dates)))


def _design(validation: Validation) -> Iterator[str | Table | tuple[Line, ...]]:
    yield (
        t(
            "{places} places were {DESIGNS}; {answered} of them have an answer. At each place somebody said "
            "which class {RULES} {UNITS}; the map is judged by the same.",
            places=validation.places,
            DESIGNS=t(DESIGNS[validation.design]),
            answered=validation.answered,
            RULES=t(RULES[validation.rule]),
            UNITS=t(UNITS[validation.place]),
        )
    )
    if validation.design == "stratified":
        yield Table(
            (t("Drawn from"), t("Pixels"), t("Places"), t("Answered"), t("Cannot tell")),
            tuple(
                (one.name, numeral(one.pixels, ","), f"{one.places}", f"{one.answered}", f"{one.cannot_tell}")
                for one in validation.strata
            ),
        )
    yield tuple(Line(text) for text in _behind(validation.answers))
    if validation.interpreters is not None:
        yield from _second(validation.interpreters, validation)
    lines = tuple(Line(text) for text in _deviations(validation.deviations))
    yield t("What went otherwise than planned:") if lines else t("Nothing went otherwise than planned.")
    if lines:
        yield lines
    if 0 < len(validation.ids) <= MATRIX_CLASSES:
        names = {one.id: one.name for one in validation.classes}
        yield t("What the map says (rows) and what was seen (columns), in places:")
        yield Table(
            (t("Map says"), *(names[k] for k in validation.ids)),
            tuple((names[k], *(f"{n}" for n in row)) for k, row in zip(validation.ids, validation.counts, strict=True)),
        )
    elif validation.ids:
        yield t(
            "What is taken for what, of {ids} classes, is in the data that this file carries.", ids=len(validation.ids)
        )


def _two_maps(found: ComparedMaps) -> Iterator[str | tuple[Line, ...]]:
    """The verdict, in the words of the page, and how it was come by."""
    first, *rest = found.sentences
    yield (Line("", relay(first)), *(Line(relay(sentence)) for sentence in rest))
    yield t(
        "{places} places were drawn by chance where the two maps differ; {answered} of them have an answer. Who answered saw "
        "neither map.",
        places=found.places,
        answered=found.answered,
    )
    lines = list(_behind(found.answers))
    if found.earlier_samples:
        lines.append(t("Comparisons that were begun and set aside before this one: {n}.", n=found.earlier_samples))
    if found.moved:
        lines.append(
            t(
                "The project's map has changed since: at {moved} of these places it says something else now. The verdict is about "
                "the map as it was.",
                moved=found.moved,
            )
        )
    yield tuple(Line(text) for text in lines)


def _second(found: Interpreters, validation: Validation) -> Iterator[str | Table]:
    """How far people agreed, and the numbers with their errors in them beside those without."""
    differ = found.doubled - found.agreed
    yield (
        t(
            "{doubled} places were answered by two people or more, neither seeing what the other said; at "
            "{agreed} they said the same. Of the pairs of answers {quantity} % differ in how often a class is "
            "said, {allocation} % in where. Settled afterwards: {settled}; left open: {open}.",
            doubled=found.doubled,
            agreed=found.agreed,
            quantity=percentage(found.quantity),
            allocation=percentage(found.allocation),
            settled=found.settled,
            open=found.open,
        )
    )
    if 0 < len(found.ids) <= MATRIX_CLASSES and differ:
        names = {one.id: one.name for one in validation.classes} | {one.id: one.name for one in found.classes}
        yield t("What two people said of one place (rows: whose name comes first), in pairs of answers:")
        yield Table(
            (t("One said"), *(names.get(k, str(k)) for k in found.ids)),
            tuple(
                (names.get(k, str(k)), *(f"{n}" for n in row)) for k, row in zip(found.ids, found.counts, strict=True)
            ),
        )
    if found.overall is None or validation.overall is None:
        return
    wrong = ", ".join(f"{name} {percentage(share)} %" for name, share in found.wrong.items())
    yield (
        t(
            "From where they differ follows how often people are likely wrong here: {wrong}. With that in "
            "estimate and interval the map is right at {percent}; from the answers as they are, at "
            "{without}. People's errors are {added} % of the variance. They are taken to err independently "
            "of each other.",
            wrong=wrong,
            percent=_percent(found.overall),
            without=_percent(validation.overall),
            added=percentage(found.added),
        )
    )
    yield Table(
        (t("Class"), t("Truly, {unit}", unit=validation.unit), t("95 % sure"), t("Right of mapped"), t("Found")),
        tuple(
            (
                one.name,
                _number(one.area.value),
                _range(one.area, "{:,.1f}"),
                share_text(one.users),
                share_text(one.producers),
            )
            for one in found.classes
        ),
    )


def _deviations(found: Deviations) -> Iterator[str]:
    if found.open:
        yield tn(
            "{n} place has not been looked at: the work was stopped before the end.",
            "{n} places have not been looked at: the work was stopped before the end.",
            found.open,
        )
    if found.cannot_tell:
        yield tn(
            "At {n} place nobody could tell what is there.",
            "At {n} places nobody could tell what is there.",
            found.cannot_tell,
        )
    if found.earlier_samples:
        yield tn(
            "{n} earlier sample was drawn and set aside; its answers are not used here.",
            "{n} earlier samples were drawn and set aside; their answers are not used here.",
            found.earlier_samples,
        )
    if found.moved:
        yield (
            t(
                "The map has changed since the places were drawn: {moved} of them are now mapped as another "
                "class. The estimates allow for that.",
                moved=found.moved,
            )
        )
    yield from (relay(one) for one in found.taught)


def _caveats(report: Report) -> Iterator[Line]:
    few = [one.name for one in report.classes if one.labels < 5]
    if few:
        yield Line(t("Fewer than five labels: {join}. Treat these classes as sketches.", join=", ".join(few)))
    yield from (Line(f"{relay(said)} {relay(advice)}") for said, advice in report.labels.mind)
    sure = report.confidence
    if sure is not None:
        below = percentage(sure.below_half)
        yield Line(
            t(
                "The map is at least {median} % sure of half of its area, and less than half sure of {value} % "
                "of it. To be sure is not to be right: of what it has never seen, a map may be confidently "
                "wrong.",
                median=sure.median,
                value=below,
            )
            # Confidence is kept in whole percent; nothing is wholly sure.
            if sure.median < 100
            else t(
                "The map is more than 99 % sure of half of its area, and less than half sure of {value} % "
                "of it. To be sure is not to be right: of what it has never seen, a map may be confidently "
                "wrong.",
                value=below,
            )
        )
    ground = report.ground
    if ground.empty:
        share = ground.empty / (ground.height * ground.width)
        yield Line(
            t(
                "{share} % of the region has no data ({empty} pixels).",
                share=percentage(share, 1),
                empty=numeral(ground.empty, ","),
            )
        )
    yield from (Line(text) for text in report.source.warnings)


def _colleagues(report: Report) -> Iterator[str | Table | tuple[Line, ...]]:
    score = report.score
    lines = [score.gap] if score is not None and score.gap else []
    lines.append(
        t("The confidence is {confidence_note}.", confidence_note=relay(confidence_note(report.source.temperature)))
    )
    yield tuple(Line(line) for line in lines)
    yield t("A paragraph for a methods section:")
    yield methods(report)
    checked = report.checked
    two = SECOND_REFERENCES if checked is not None and checked.interpreters is not None else ()
    yield tuple(Line(text) for text in (*REFERENCES, *two)) if checked is not None else ()
    yield Table(("", ""), tuple(_facts(report).items()), texts=2)


def methods(report: Report) -> str:
    """A paragraph that says what was done, to be pasted into a text."""
    source, labels = report.source, report.labels
    observed = t(" of {year}", year=_when(source.year)) if source.year else ""
    parts = [
        t(
            "The {simulated}region was mapped with {title} embeddings{observed} ({dataset}; {origin}). A "
            "classifier ({head}) was trained on {count} labels of {classes} classes with {software}.",
            simulated=t("simulated ") if report.simulated else "",
            title=source.title,
            observed=observed,
            dataset=source.dataset,
            origin=relay(source.origin),
            head=t(CLASSIFIERS.get(source.head, source.head)),
            count=labels.count,
            classes=len([one for one in report.classes if one.labels]),
            software=report.software,
        )
    ]
    score = report.score
    if score is not None and score.accuracy is not None and score.low is not None and score.high is not None:
        parts.append(
            t(
                "With whole places held out in turn, {value} % of the labels were predicted right (95 % "
                "interval {low} to {high} %, {places} places).",
                value=percentage(score.accuracy),
                low=percentage(score.low),
                high=percentage(score.high),
                places=score.places,
            )
        )
    checked = report.checked
    if checked is None or checked.overall is None:
        parts.append(t("The map was not validated with a probability sample."))
        return " ".join(parts)
    kind = {"stratified": t("stratified random"), "random": t("simple random"), "systematic": t("systematic")}[
        checked.design
    ]
    strata = (
        t(" with the {strata} classes of the map as strata", strata=len(checked.strata))
        if checked.design == "stratified"
        else ""
    )
    parts.append(
        t(
            "Accuracy and areas were estimated from a {kind} sample of {places} pixels{strata}, of which "
            "{answered} were interpreted (the class that {RULES} {UNITS}), with the stratified estimators "
            "of Stehman (2014), which are those of Olofsson et al. (2014) where strata are map classes. "
            "Overall accuracy is {percent}. Intervals invert a score test with a saddle-point bound and so "
            "hold for small samples and for strata without an error; plain standard errors are given beside "
            "them in the data.",
            kind=kind,
            places=checked.places,
            strata=strata,
            answered=checked.answered,
            RULES=t(RULES[checked.rule]),
            UNITS=t(UNITS[checked.place]),
            percent=_percent(checked.overall),
        )
    )
    two = checked.interpreters
    if two is not None and two.overall is not None:
        parts.append(
            t(
                "{doubled} places were interpreted by two people independently ({value} % of pairs disagreed). "
                "With interpreter error estimated by the latent class model of Dawid and Skene (1979) and its "
                "uncertainty added (Louis 1982; Zou and Donner 2008), overall accuracy is {percent}.",
                doubled=two.doubled,
                value=percentage(two.quantity + two.allocation),
                percent=_percent(two.overall),
            )
        )
    return " ".join(parts)


def _when(year: int | str | None) -> object:
    """A year or window of a file, as it is said."""
    return period(year) if isinstance(year, str) and is_period(year) else year


def _facts(report: Report) -> dict[str, str]:
    source, ground, labels = report.source, report.ground, report.labels
    facts = {
        "Embeddings": source.dataset,
        "Year": t("{year}", year=_when(source.year)) if source.year else "",
        "Source": t("simulated (the demo region)") if report.simulated else source.source,
        "Pixels": t(
            "{height} rows, {width} columns", height=numeral(ground.height, ","), width=numeral(ground.width, ",")
        ),
        "Coordinate system": ground.crs,
        "Fingerprint of the model (SHA-256)": source.checksum[:16],
        "Fingerprint of the map (SHA-256)": ground.map_sha256[:16],
        "Fingerprint of the labels (SHA-256)": labels.sha256[:16],
        "Labels drawn as": ", ".join(f"{n} {t(KINDS.get(kind, kind))}" for kind, n in labels.by_kind.items()),
        "Classifier": t(CLASSIFIERS.get(source.head, source.head)),
        "Embeddings made with": source.software,
        "Report made with": report.software,
        "Project": report.project_id,
    }
    return {key: value for key, value in facts.items() if value}


def _percent(share: Estimate) -> str:
    if share.value is None or share.low is None or share.high is None:
        return t("an unknown share")
    return t(
        "{value} % (95 % sure: {low} to {high} %)",
        value=percentage(share.value),
        low=percentage(share.low),
        high=percentage(share.high),
    )


def share_text(share: Estimate) -> str:
    """A share with its interval, as the tables of page, report and command line have it."""
    if share.value is None or share.low is None or share.high is None:
        return t("no place")
    return t(
        "{value} % ({low} to {high})",
        value=percentage(share.value),
        low=percentage(share.low),
        high=percentage(share.high),
    )


def _number(value: float | None) -> str:
    return t("not known") if value is None else numeral(value, ",.1f")


def _range(one: Estimate, form: str) -> str:
    if one.low is None or one.high is None:
        return t("not known")
    return t("{format} to {format2}", format=localized(form.format(one.low)), format2=localized(form.format(one.high)))
