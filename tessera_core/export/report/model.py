"""The report as plain values: what the page, the HTML, the PDF and the JSON of one map all say.

Numbers are in it, not sentences about them: words are made of them where they are shown (:mod:`~tessera_core.export.report.words`).
What a person typed, or when it was made, cannot be computed again; :data:`STATED` names it. All else follows from the project
and is recomputed by :mod:`tessera_core.project.verify`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tessera_core.language import ENGLISH

FORMAT = "tessera-report/1"
# Parts that nothing can recompute.
STATED = ("made_on", "software", "photo", "learner.name", "learner.others")


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number from a sample.

    Attributes:
        value: None where the sample has nothing to estimate it from.
        low, high: its 95 % interval.
        se: standard error, of the papers' plain interval.
    """

    value: float | None
    low: float | None
    high: float | None
    se: float | None


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What was mapped.

    Attributes:
        height, width: pixels.
        crs: coordinate system; empty where the place on Earth is not known, as are the next three.
        bounds: west, south, east, north in degrees.
        pixel_ha: hectares of a pixel.
        km2: of the whole grid.
        empty: pixels without data.
        map_sha256: of the class ids of the map, row by row.
    """

    height: int
    width: int
    crs: str
    bounds: tuple[float, float, float, float] | None
    pixel_ha: float | None
    km2: float | None
    empty: int
    map_sha256: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the map comes from.

    Attributes:
        dataset: name of the dataset of embeddings, exact.
        title, origin: the same for people, and where they were got.
        year: observed.
        source: exact.
        checksum: SHA-256 of codes or weights.
        software: that wrote the embeddings.
        head: kind of classifier.
        temperature: by which its confidence was adjusted; 1 where it was not.
        warnings: of the embeddings.
        seen: how often satellites saw the region, in sentences; unset where nobody counted, as in older files.
    """

    dataset: str
    title: str
    origin: str
    year: int | str | None
    source: str
    checksum: str
    software: str
    head: str
    temperature: float
    warnings: tuple[str, ...] = ()
    seen: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """What taught the map.

    Attributes:
        count: labels.
        by_kind: how many of each way of drawing.
        sha256: of all of them.
        mind: what there is to mind of them, pairs of what is so and what to do.
    """

    count: int
    by_kind: dict[str, int]
    sha256: str
    mind: tuple[tuple[str, str], ...] = ()


class MappedClass(msgspec.Struct, frozen=True, kw_only=True):
    """A class as the map has it, mistakes included; ``share`` is of the mapped pixels, ``hectares`` None without a place."""

    id: int
    name: str
    colour: str
    pixels: int
    share: float
    hectares: float | None
    labels: int


class Confidence(msgspec.Struct, frozen=True, kw_only=True):
    """How sure the map is: percent in the middle, and the share of it that is less than half sure."""

    median: int
    below_half: float


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The score of the labels, each left out in turn; see :class:`tessera_core.assess.live.LiveScore`."""

    accuracy: float | None
    low: float | None
    high: float | None
    labels: int
    places: int
    sentences: tuple[str, ...]
    gap: str


class Stratum(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the region from which places were drawn: its class of the map when they were, pixels, places, answers."""

    id: int
    name: str
    pixels: int
    places: int
    answered: int
    cannot_tell: int


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind the answers; each tells how many answers of the sample it is true of.

    Attributes:
        confidence: of ``"sure"``, ``"probably"`` and ``"not said"``, without places that could not be told.
        reasons: why places could not be told.
        evidence: what was looked at.
        evidence_dates: the first and the last of its dates, as they were typed; None where none was.
        interpreters: who answered, as they called themselves.
        days: the first and the last day of the answers; None where none is known.
    """

    confidence: dict[str, int]
    reasons: dict[str, int]
    evidence: dict[str, int]
    evidence_dates: tuple[str, str] | None
    interpreters: dict[str, int]
    days: tuple[str, str] | None


class CheckedClass(msgspec.Struct, frozen=True, kw_only=True):
    """What the sample says of a class; areas in the unit of the validation.

    Attributes:
        mapped: area on the map, counted.
        area: that it truly covers.
        users, producers: shares of what is mapped so that is, and of what is that is mapped so.
        places: that were the class.
        worst: area between whose ends the truth lies whatever the places are that could not be told; None where there are none.
    """

    id: int
    name: str
    mapped: float
    area: Estimate
    users: Estimate
    producers: Estimate
    places: int
    worst: tuple[float, float] | None = None


class SecondClass(msgspec.Struct, frozen=True, kw_only=True):
    """What the sample says of a class with the interpreters' errors in it; the area in the unit of the validation."""

    id: int
    name: str
    area: Estimate
    users: Estimate
    producers: Estimate


class Interpreters(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from places that two people answered (:mod:`tessera_core.assess.interpreters`).

    Attributes:
        meant: places that two were to answer.
        doubled, agreed: that two answered, and where they said the same.
        settled, open: where adjudication settled what they differ in, and where nothing did.
        ids, counts: pairs of answers, rows of the person whose name comes first.
        quantity, allocation: parts of the pairs that disagree in how often, and in where.
        wrong: person -> share of their answers that is likely wrong.
        overall: share of the region that is right, with the interpreters' errors in estimate and interval.
        classes: of map or reference.
        added: share of the variance of ``overall`` that is the interpreters'.
    """

    meant: int
    doubled: int
    agreed: int
    settled: int
    open: int
    ids: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]
    quantity: float
    allocation: float
    wrong: dict[str, float]
    overall: Estimate | None = None
    classes: tuple[SecondClass, ...] = ()
    added: float = 0.0


class Certified(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the map that is certified (:mod:`tessera_core.assess.certified`).

    Attributes:
        most_wrong: share of it that may be wrong.
        risk: how often, over many samples, it may be wrong in more than that.
        after: places that had been looked at when both were chosen; 0 where they were chosen before.
        sentences: what is certified, or why nothing is.
        confidence: percent; pixels at least as confident belong to it. None where nothing is certified, as are the next five.
        share: of the map.
        pixels, hectares: of it; ``hectares`` None without a place on Earth.
        places, wrong: of the sample that lie in it, and of these.
    """

    most_wrong: float
    risk: float
    after: int
    sentences: tuple[str, ...]
    confidence: float | None = None
    share: float | None = None
    pixels: int | None = None
    hectares: float | None = None
    places: int | None = None
    wrong: int | None = None


class Deviations(msgspec.Struct, frozen=True, kw_only=True):
    """What went otherwise than planned.

    Attributes:
        open: places that nobody looked at.
        cannot_tell: places at which somebody looked and could not tell.
        earlier_samples: samples that were drawn and set aside before this one.
        moved: places whose class on the map is another one than when they were drawn: the map changed since.
        labelled: places that lie on ground that taught the map.
        taught: what is to be said of these.
    """

    open: int
    cannot_tell: int
    earlier_samples: int
    moved: int
    labelled: int
    taught: tuple[str, ...] = ()


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """What people saw at places drawn by chance.

    Attributes:
        design: one of :data:`tessera_core.assess.designs.DESIGNS`.
        places, answered: drawn, and decided.
        strata: from which they were drawn; one where the design has none.
        deviations: from the plan.
        unit: of areas, ``"ha"`` or ``"pixels"``.
        total: area of the region.
        overall: overall accuracy; None where nothing follows from the answers yet.
        classes: of map or reference.
        ids, counts: confusion matrix in places, rows the map, columns what was seen.
        notes: what weakens the result, in sentences.
        sha256: of places and answers.
        place: ``"pixel"``, or ``"block"`` of 3 x 3 pixels.
        rule: ``"majority"``, or ``"centre"``.
        answers: what stands behind them.
        worst: share of the region that is right, 95 % sure, whatever the places are that could not be told; None without any.
        interpreters: what follows from places that two people answered; None where none was.
        certified: the part of the map that is certified, or why none is; unset in files of earlier versions.
    """

    design: str
    places: int
    answered: int
    strata: tuple[Stratum, ...]
    deviations: Deviations
    unit: Literal["ha", "pixels"]
    total: float
    sha256: str
    place: str
    rule: str
    answers: Answers
    overall: Estimate | None = None
    worst: tuple[float, float] | None = None
    classes: tuple[CheckedClass, ...] = ()
    ids: tuple[int, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    notes: tuple[str, ...] = ()
    interpreters: Interpreters | None = None
    certified: Certified | msgspec.UnsetType = msgspec.UNSET


class ComparedMaps(msgspec.Struct, frozen=True, kw_only=True):
    """Which of two maps is right more often, by places drawn where they differ (:mod:`tessera_core.assess.two_maps`).

    Attributes:
        first, second: by which people know them.
        compared, differing: pixels in which both name a class, and of these, not the same.
        left_out: map -> its classes without a counterpart -> pixels.
        places, answered, cannot_tell, open: drawn, decided, looked at without an answer, not looked at.
        planned: whether the number of places was settled beforehand.
        risk: how often one may be called better though none is.
        earlier_samples: comparisons that were set aside before this one.
        moved: places at which the project's map says something else today than when they were drawn.
        first_right, second_right, neither: places that count, by which map is right alone.
        p: how rare answers as uneven as these are where none is better; None before the first that counts, as are the next three.
        better: 1, 2, or 0 for "not known".
        low, high: interval (95 %) of the first map's accuracy less the second's, over what both map, -1 to 1.
        sentences: the verdict, and what is left out.
        answers: what stands behind them.
        sha256: of places, maps and answers.
    """

    first: str
    second: str
    compared: int
    differing: int
    left_out: dict[str, dict[str, int]]
    places: int
    answered: int
    cannot_tell: int
    open: int
    planned: bool
    risk: float
    earlier_samples: int
    moved: int
    sentences: tuple[str, ...]
    answers: Answers
    sha256: str
    first_right: int = 0
    second_right: int = 0
    neither: int = 0
    p: float | None = None
    better: int | None = None
    low: float | None = None
    high: float | None = None


class LessonDone(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson that a learner worked on: its name, steps done alone, helped, skipped, of how many; whether it is finished."""

    name: str
    steps: int
    done: int
    helped: int
    skipped: int
    finished: bool


class Learner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose work the map is.

    Attributes:
        name: or nickname, as they typed it.
        lesson: of the project, where it is one's.
        others: lessons that were finished in other projects of the same computer, which this project cannot prove.
    """

    name: str
    lesson: LessonDone | None = None
    others: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said of one map.

    Attributes:
        format: of this object.
        project, project_id: name, and what no other project but copies has.
        year: mapped.
        made_on: day, ``YYYY-MM-DD``.
        software: that made the report.
        simulated: whether the landscape is made up.
        validation: None where no places were drawn.
        damaged: why a saved sample could not be read; empty else.
        two_maps: which of two maps is right more often; unset where none were compared.
        learner: for a record of a learner's work.
        photo: whether the picture shows the classes over a photograph of the region.
        language: in which it is told.
    """

    format: str
    project: str
    project_id: str
    year: int | str | None
    made_on: str
    software: str
    simulated: bool
    ground: Ground
    source: Source
    labels: Labels
    classes: tuple[MappedClass, ...]
    confidence: Confidence | None
    score: Score | None
    validation: Validation | None = None
    damaged: str = ""
    two_maps: ComparedMaps | msgspec.UnsetType = msgspec.UNSET
    learner: Learner | None = None
    photo: bool = False
    language: str = ENGLISH

    @property
    def title(self) -> str:
        """Project and year."""
        return f"{self.project} {self.year}" if self.year else self.project

    @property
    def checked(self) -> Validation | None:
        """The validation where numbers follow from it."""
        return self.validation if self.validation is not None and self.validation.overall is not None else None
