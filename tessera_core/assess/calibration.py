"""Whether "80 % sure" means right in 80 of 100 cases, how to make it so, and sets of classes that hold the truth often enough.

Both are fitted on predictions for labels whose place was held out (:mod:`tessera_core.assess.crossfit`), because a head is
always surer of what it has seen. Labels of one place are not independent, so places are what is counted; and labels
are seldom drawn as the map is made up, so each class weighs as much as it covers of the map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.assess.crossfit import GROUND, HeldOut, effective_sample_size
from tessera_core.assess.splits import BLOCK_PX
from tessera_core.errors import Cancelled, LabelError
from tessera_core.heads.base import FLOAT_BLOCK
from tessera_core.heads.classification import Head
from tessera_core.heads.temperature import FLOOR, temperature_scaled
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel, Progress, Reals

BINS = 10
RANGE = (0.05, 20.0)
# Places that the pull of a temperature to 1 is worth: of 1 to 20, 4 mends most where places are many and spoils little where few.
PULL = 4.0
NO_SET = 255
# So much surer than right, a map misleads whoever looks at its confidence.
OVERCONFIDENT = 0.3
# Independent places below which nothing firm can be said of confidence: with two labels a class it was off by half of all points.
FEW_PLACES = 20
# Classes that fit into the widest mask.
MASK_CLASSES = 64
# Of each class, beside the pixels that tell how much of the map it covers, so that none weighs nothing.
PRIOR_PIXELS = 10.0
# "Beside a label" is where nine of ten labels have their next one.
NEAR_SHARE = 0.9

Method = Literal["lac", "aps"]


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose confidence lies in ``[low, high)``: their weight, mean confidence and share that is right."""

    low: float
    high: float
    weight: float
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How honest a head's confidence is, before and after one temperature.

    Attributes:
        temperature: by which the log-probabilities are divided; above 1 where the head is too sure of itself, exactly 1
            where none would lower the log-loss of labels held out.
        ece_before, ece_after: expected calibration error in 0..1, the classes weighing as in the map; ``after`` with
            temperatures fitted without the fold they are judged on.
        before, after: reliability tables for a plot, empty bins left out.
        sentence: for the page.
    """

    temperature: float
    ece_before: float
    ece_after: float
    before: tuple[ReliabilityBin, ...]
    after: tuple[ReliabilityBin, ...]
    sentence: str


def effective_weights(held: HeldOut) -> tuple[NDArray[np.float64], float]:
    """What the labels held out weigh, and how many independent places they amount to.

    A label's class weighs as much as it covers of the map (weights for a shift of the labels' mix; Podkopaev & Ramdas, UAI
    2021), where that is known.

    Returns:
        weight: (n,) of ``held.judged``, summing to the number of places.
        places: Kish's effective number of them, not a whole one.
    """
    judged = held.judged
    weight = held.weight[judged]
    if held.shares is not None:
        targets = held.targets[judged]
        own = np.bincount(targets, weight, minlength=len(held.ids))
        shares = np.where(own > 0, held.shares + PRIOR_PIXELS / GROUND, 0)
        weight = weight * (shares / shares.sum() / np.maximum(own, 1e-12))[targets]
    n = effective_sample_size(weight, held.spatial_groups[judged])
    return weight * (n / weight.sum()), n


def calibrate(held: HeldOut) -> Calibration:
    """Fit and judge a temperature on labels held out.

    Raises:
        LabelError: no label was held out.
    """
    judged = held.judged
    if len(judged) == 0:
        raise LabelError("Confidence cannot be checked before labels of two classes lie at two places each.")
    proba, targets = held.proba[judged], held.targets[judged]
    weight, _ = effective_weights(held)
    temperature = fit_temperature(proba, targets, weight)
    after: Reals = np.empty(proba.shape)
    for number in np.unique(held.fold[judged]):
        own = held.fold[judged] == number
        other = ~own if not own.all() else own
        after[own] = temperature_scaled(proba[own], fit_temperature(proba[other], targets[other], weight[other]))
    if _log_loss(after, targets, weight) >= _log_loss(proba, targets, weight):
        # Fitted elsewhere, a temperature does harm: there is nothing to mend.
        temperature, after = 1.0, proba
    tables = [reliability(p, targets, weight) for p in (proba, after)]
    ece = [expected_error(table) for table in tables]
    sentence = _sentence(proba, targets, weight, ece, temperature)
    return Calibration(temperature, ece[0], ece[1], tables[0], tables[1], sentence)


def _log_loss(proba: Reals, targets: NDArray[np.intp], weight: NDArray[np.float64]) -> float:
    return float(-weight @ np.log(np.maximum(proba[np.arange(len(targets)), targets], FLOOR)))


def fit_temperature(proba: Reals, targets: NDArray[np.intp], weight: NDArray[np.float64] | None = None) -> float:
    """The temperature with the least log-loss (Guo et al., ICML 2017).

    Args:
        proba: (N, K).
        targets: (N,) column of the truth.
        weight: (N,), summing to the number of independent places; None for 1 each.
    """
    from scipy.optimize import minimize_scalar

    logits = np.log(np.maximum(proba.astype(np.float64), FLOOR))
    rows = np.arange(len(targets))
    weight = np.ones(len(targets)) if weight is None else weight

    def loss(log_t: float) -> float:
        scaled = logits * np.exp(-log_t)
        top = scaled.max(axis=1)
        norm = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        # A pull to 1: a handful of places that are all right are no proof of certainty.
        return float(weight @ (norm - scaled[rows, targets])) + 0.5 * PULL * log_t**2

    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(RANGE)), method="bounded").x))


def reliability(
    proba: Reals, targets: NDArray[np.intp], weight: NDArray[np.float64] | None = None, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Confidence beside accuracy in equal steps of confidence (Guo et al. 2017); bins without predictions are left out."""
    top = proba.max(axis=1)
    right = proba.argmax(axis=1) == targets
    weight = np.ones(len(targets)) if weight is None else weight
    number = np.minimum((top * bins).astype(int), bins - 1)
    sums = [np.bincount(number, w, minlength=bins) for w in (weight, weight * top, weight * right)]
    return tuple(
        ReliabilityBin(i / bins, (i + 1) / bins, float(w), float(c / w), float(a / w))
        for i, (w, c, a) in enumerate(zip(*sums, strict=True))
        if w > 0
    )


def expected_error(table: tuple[ReliabilityBin, ...]) -> float:
    """Expected calibration error: the mean distance of confidence from accuracy over the bins (Naeini et al., AAAI 2015)."""
    total = sum(row.weight for row in table)
    return sum(row.weight * abs(row.confidence - row.accuracy) for row in table) / total


def _sentence(
    proba: Reals, targets: NDArray[np.intp], weight: NDArray[np.float64], ece: list[float], temperature: float
) -> str:
    confidence = float(weight @ proba.max(axis=1) / weight.sum())
    accuracy = float(weight @ (proba.argmax(axis=1) == targets) / weight.sum())
    sure, right = percent(confidence), percent(accuracy)
    mood = "The map is too sure of itself" if confidence > accuracy else "The map is more careful than it need be"
    first = f"{mood}: {sure} % confident on average where {right} % is right."
    if abs(confidence - accuracy) < 0.02:
        first = f"The map is as sure as it should be: {sure} % confident on average where {right} % is right."
    if weight.sum() < FEW_PLACES:
        known = f"That is known from {weight.sum():.0f} places, which hardly tell it."
        first = f"{first} {known}"
    if confidence - accuracy > OVERCONFIDENT:
        first = f"Do not trust its confidence. {first} On ground unlike your labels it guesses; label more places of each class."
    if temperature == 1:
        return (
            f"{first} At places held out no adjustment improved on that; confidence is off by {100 * ece[0]:.0f} points on "
            "average."
        )
    calibrated = f"{first} Adjusted (temperature {temperature:.2f}),"
    if round(100 * ece[1]) >= round(100 * ece[0]):
        # Bins of few labels say less than the log-loss that the temperature was chosen by.
        return f"{calibrated} it fits labels held out better; so few of them cannot tell how far it is still off."
    return f"{calibrated} confidence is off by {100 * ece[1]:.0f} points on average instead of {100 * ece[0]:.0f}."


# -- prediction sets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beside:
    """The threshold beside labels, where the map has seen the ground.

    Attributes:
        threshold: of the nonconformity, from labels held out one by one; infinite where there are too few.
        labelled: int (M, 2), rows and columns of labelled pixels.
        radius: in pixels, how near to a label a pixel has to lie.
    """

    threshold: float
    labelled: NDArray[np.int64]
    radius: float

    def mask(self, rows: slice, width: int) -> NDArray[np.bool_]:
        """Which pixels (h, w) of some rows of a raster lie beside a label."""
        from scipy import ndimage

        margin = int(np.ceil(self.radius))
        top, height = rows.start - margin, rows.stop - rows.start
        at = self.labelled - (top, 0)
        at = at[(at[:, 0] >= 0) & (at[:, 0] < height + 2 * margin)]
        if len(at) == 0:
            return np.zeros((height, width), bool)
        bare = np.ones((height + 2 * margin, width), bool)
        bare[at[:, 0], at[:, 1]] = False
        near: NDArray[np.bool_] = ndimage.distance_transform_edt(bare) <= self.radius
        return near[margin : margin + height]


@dataclass(frozen=True)
class Conformal:
    """Sets of classes that hold the true one at ``1 - error`` of the pixels of a map.

    Split conformal prediction (Vovk et al. 2005; Angelopoulos & Bates 2023, section 1) for labels that come in places: the
    exchangeable unit is the place (Dunn, Wasserman & Ramdas, JASA 118, 2023; Lee, Barber & Willett 2023), and classes weigh
    as in the map (see :func:`effective_weights`). The threshold is the ``(n + 1)(1 - error)``-th of the nonconformities of labels
    whose place the head had not seen, n being the places; between two of them it is interpolated (Hutson, J. Appl. Probab. 36,
    1999), which keeps the promise on average where plain sets, of few labels, promise more than was asked. With labels held out
    by folds this is cross-conformal (Vovk, Ann. Math. Artif. Intell. 74, 2015).

    Attributes:
        method: ``"lac"``, all classes above one probability (least ambiguous sets; Sadinle, Lei & Wasserman, JASA 114,
            2019), or ``"aps"``, the likeliest classes up to one total (adaptive sets; Romano, Sesia & Candes, NeurIPS 2020,
            without its random last class).
        error: share of cases in which the truth may be missing.
        threshold: of the nonconformity, away from labels; infinite where there are too few places for so small an error.
        temperature: softens the head's probabilities first.
        ids: (K,) class ids, the order of probabilities.
        n: independent places it rests on.
        beside: another threshold for pixels beside labels; None where it could not be had, and one holds everywhere.
    """

    method: Method
    error: float
    threshold: float
    temperature: float
    ids: NDArray[np.int64]
    n: float
    beside: Beside | None = None

    def contains(self, proba: Reals, beside: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Which classes are in the set.

        Args:
            proba: a head's probabilities (N, K).
            beside: bool (N,), which pixels lie beside a label; None for none of them.

        Returns:
            bool (N, K), all False where probabilities are NaN.
        """
        threshold: float | NDArray[np.float64] = self.threshold
        if beside is not None and self.beside is not None:
            threshold = np.where(beside, self.beside.threshold, self.threshold)[:, None]
        return nonconformity(temperature_scaled(proba, self.temperature), self.method) <= threshold

    @property
    def sentence(self) -> str:
        """What the layer shows."""
        if np.isfinite(self.threshold):
            return (
                f"At each pixel these are the classes that remain possible; the true one is missing at about "
                f"{percent(self.error)} of 100 pixels, also where you have no labels, if all that is there has a class."
            )
        need = int(np.ceil(1 / self.error - 1e-9)) - 1
        few = (
            f"Your labels amount to {max(1, int(self.n))} independent places, too few for an error rate of "
            f"{percent(self.error)} %"
        )
        ask = f"Label at least {need} places, most in the classes that cover most, or allow more error."
        if self.beside is None or np.isinf(self.beside.threshold):
            return f"{few}: every class stays possible everywhere. {ask}"
        return f"{few} on ground without labels: there every class stays possible, beside your labels fewer do. {ask}"


def conformal(held: HeldOut, error: float = 0.1, method: Method = "lac", temperature: float = 1.0) -> Conformal:
    """Prediction sets from labels held out, each label counting once.

    Raises:
        LabelError: the error is not between 0 and 1, or no label was held out.
    """
    if len(held.judged) == 0:
        raise LabelError("Sets of possible classes need labels of two classes at two places each.")
    weight, n = effective_weights(held)
    threshold = quantile(_own(held, method, temperature), error, weight)
    beside = None
    if held.near is not None and held.labelled is not None and len(held.near.judged):
        # Here the ground is known, and each label speaks for itself.
        near = replace(held.near, spatial_groups=held.near.samples.groups)
        near_threshold = quantile(_own(near, method, temperature), error, effective_weights(near)[0])
        beside = Beside(min(near_threshold, threshold), held.labelled, _radius(near))
    return Conformal(method, error, threshold, temperature, held.ids, n, beside)


def _own(held: HeldOut, method: Method, temperature: float) -> Reals:
    """Nonconformity (n,) of the true classes of labels held out."""
    judged = held.judged
    scores = nonconformity(temperature_scaled(held.proba[judged], temperature), method)
    return scores[np.arange(len(judged)), held.targets[judged]]


def _radius(near: HeldOut) -> float:
    """How far, in pixels, nine of ten labels were from the next that taught the head when they were held out."""
    from scipy.spatial import cKDTree

    at = np.stack([near.samples.rows, near.samples.cols], axis=1)
    away = np.full(len(at), np.inf)
    for number in np.unique(near.fold[near.judged]):
        own = near.fold == number
        away[own] = cKDTree(at[~own]).query(at[own])[0]
    judged = near.judged
    order = judged[np.argsort(away[judged], kind="stable")]
    total = np.cumsum(near.weight[order])
    return float(min(away[order[np.searchsorted(total, NEAR_SHARE * total[-1])]], BLOCK_PX))


def nonconformity(proba: Reals, method: Method) -> NDArray[np.floating]:
    """How strange each class would be, (N, K): ``1 - p`` ("lac"), or the probability of all classes likelier plus its own."""
    if method == "lac":
        return 1 - proba
    order = np.argsort(-proba, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(proba, order, axis=1), axis=1)
    out = np.empty_like(sums)
    np.put_along_axis(out, order, sums, axis=1)
    return out


def quantile(scores: Reals, error: float, weight: NDArray[np.float64] | None = None) -> float:
    """The conformal threshold of nonconformity ``scores`` (N,), between two of them interpolated; infinite where there are too few.

    Args:
        scores: of the truth.
        error: in (0, 1).
        weight: (N,), summing to the number of independent labels or places; None for 1 each.

    Raises:
        LabelError: ``error`` is out of range.
    """
    if not 0 < error < 1:
        raise LabelError(f"The error rate must lie between 0 and 100 %, not {100 * error:g} %.")
    weight = np.ones(len(scores)) if weight is None else weight
    order = np.argsort(scores, kind="stable")
    total = np.cumsum(weight[order])
    wanted = (total[-1] + 1) * (1 - error)
    # A hair of tolerance, so that sums of thirds reach their whole number.
    return float("inf") if wanted > total[-1] + 1e-9 else float(np.interp(wanted, total, scores[order]))


@dataclass(frozen=True)
class SetMap:
    """Prediction sets of a raster.

    Attributes:
        size: uint8 (H, W), classes in the set; 255 where there is no data. 0 means that no class fits.
        members: unsigned (H, W), bit k set where the k-th class of ``ids`` is in the set; None beyond 64 classes.
        ids: (K,) class ids in the order of the bits.
    """

    size: NDArray[np.uint8]
    members: NDArray[np.unsignedinteger] | None
    ids: NDArray[np.int64]


def map_sets(
    rule: Conformal,
    head: Head,
    raster: EmbeddingRaster,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> SetMap:
    """The prediction set of every pixel, a block at a time.

    Args:
        rule: fitted for a head of this kind on these labels.
        head: fitted on all labels.
        cancelled, progress: see docs/architecture.md; units are rows.

    Raises:
        LabelError: the head knows other classes than the rule.
        Cancelled: ``cancelled`` said so.
    """
    if not np.array_equal(head.classes_, rule.ids):
        raise LabelError("The labels have changed since the prediction sets were fitted; fit them again.")
    k = len(rule.ids)
    size = np.full(raster.shape, NO_SET, np.uint8)
    masks = k <= MASK_CLASSES
    kind = np.min_scalar_type(2 ** min(k, MASK_CLASSES) - 1)
    members = np.zeros(raster.shape, kind) if masks else None
    bits = np.left_shift(np.ones(k, np.uint64), np.arange(k, dtype=np.uint64)) if masks else None
    for rows in raster.row_slices(FLOAT_BLOCK * raster.dim * 4):
        if cancelled is not None and cancelled():
            raise Cancelled
        valid = valid_scales(raster.scales[rows])
        window = (rows.start, 0, rows.stop, raster.shape[1])
        beside = None if rule.beside is None else rule.beside.mask(rows, raster.shape[1])[valid]
        inside = rule.contains(head.proba_window(raster.codes, raster.scales, window)[valid], beside)
        size[rows][valid] = inside.sum(axis=1)
        if members is not None and bits is not None:
            members[rows][valid] = (inside * bits).sum(axis=1, dtype=np.uint64).astype(kind)
        if progress is not None:
            progress(rows.stop, raster.shape[0], "finding the possible classes")
    return SetMap(size, members, rule.ids)
