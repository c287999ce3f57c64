"""Encoders and heads side by side on real labelled pixels, ground held out, with paired differences and their intervals.

Every method gets the same labels and is judged on the same pixels of other ground. What each head said of each pixel is kept, so
that an interrupted study goes on, a new encoder costs only its own part, and intervals can be drawn anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path, write_json, write_text
from tessera_core._utils.npy import load_npy
from tessera_core.dpixels.seasons import BESIDE_KNOWN, monthly_statistics, seasonal_statistics, standardised
from tessera_core.errors import InputError, TileError
from tessera_core.inference.external import LoadedExternal, embed_pixels
from tessera_core.models.quantise import quantise
from tessera_core.models.zoo import TAUGHT_SEASONS
from tessera_core.pretrain.pixels import pack_tile
from tessera_core.pretrain.studies.labelled import RealPlace
from tessera_core.pretrain.studies.peers import HEADS, deal, predicted
from tessera_core.pretrain.studies.scenes import embed
from tessera_core.pretrain.studies.telling import BEST_RAW, as_csv, draw_figure, markdown
from tessera_core.raster import dequantise
from tessera_core.types import Floats, Progress

if TYPE_CHECKING:
    from tessera_core.models.checkpoint import LoadedEncoder

COUNTS = (1, 5, 10, 50)
DRAWS = 20
HOLD_OUT = ("auto", "zones", "cells", "fields")
# Fields are few, so most of them teach, unless they are too few for that; of cells there are hundreds.
FIELD_FOLDS, FEWEST_FOLDS = 4, 2
# What intervals are drawn from: ground and draws of labels, both with replacement.
RESAMPLED = 1000
# Pixels of a place that are judged: more change the second figure of a score by nothing and cost as many predictions.
MOST_PIXELS = 8000
_MAX_S2, _MAX_S1 = 128, 192
_FORMAT = 1

Kind = Literal["embedding", "raw", "joined"]


@dataclass(frozen=True)
class Feature:
    """What a head sees of the N pixels of a place.

    Attributes:
        name: for people, and of its results.
        kind: whether it comes of an encoder, is a plain statistic, or both side by side.
        digest: names what made it.
        values: float32 (N, D).
        blocks: widths of its parts, of joined ones: class means and logistic learn how much each counts.
    """

    name: str
    kind: Kind
    digest: str
    values: Floats
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Setting:
    """How a study is done; results of another setting are not taken for results of this.

    Attributes:
        hold_out: ``"zones"``: the ground is cut in two, north from south in one draw and west from east in the next, and each
            side is taught by the other. ``"cells"`` and ``"fields"``: whole groups of a place, dealt anew in each draw to two
            to four parts, each taught by the others. ``"auto"``: fields where a place has them, else zones.
        counts: labels a class, each a part of the next.
        draws: of labels, and of parts.
        seed: of everything random.
    """

    hold_out: str = "auto"
    counts: tuple[int, ...] = COUNTS
    draws: int = DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.hold_out not in HOLD_OUT:
            raise InputError(f"Ground is held out by {', '.join(HOLD_OUT)}, not by {self.hold_out!r}.")
        if self.draws < 2 or not self.counts or min(self.counts) < 1:
            raise InputError("A study needs two draws or more, and numbers of labels of at least 1.")

    def of(self, place: RealPlace) -> str:
        """What is held out of a place: ``"zones"``, ``"cells"`` or ``"fields"``."""
        fields = place.whole == "fields"
        if self.hold_out == "auto":
            return "fields" if fields else "zones"
        return "fields" if self.hold_out == "cells" and fields else self.hold_out


# ---------------------------------------------------------------------------------------------------------------- features


def features_of(
    place: RealPlace,
    encoders: Sequence[LoadedEncoder | LoadedExternal],
    joined: bool = True,
    kept: Path | None = None,
) -> list[Feature]:
    """What is compared on a place: each encoder's embedding and each that the file brings (int8, as rasters hold them), plain
    monthly statistics, and each embedding beside the seasonal statistics at equal variance.

    Args:
        place: labelled pixels.
        encoders: loaded weights, and encoders of others.
        joined: whether to join embeddings with seasonal statistics.
        kept: folder where embeddings are kept for the next time.
    """
    rows, cols = place.reference.rows, place.reference.cols
    found = []
    names = [Path(one.name).stem if Path(one.name).suffix else one.name for one in encoders]
    for name, loaded in zip(names, encoders, strict=True):
        # Two states of the same model are told apart by the beginning of their fingerprints.
        called = name if names.count(name) == 1 else f"{name} {_print_of(loaded)[:8]}"
        found.append(Feature(called, "embedding", _print_of(loaded), _embedded(place, loaded, kept)))
    for name, values in place.vectors.items():
        digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
        found.append(Feature(name, "embedding", digest, _rounded(values)))
    seasons = _filled(standardised(seasonal_statistics(place.tile, rows, cols)))
    if joined:
        for one in list(found):
            # As joining does (analysis/season_raster.py): of what knows the seasons nothing is learnt of parts.
            known = one.digest[:8] in TAUGHT_SEASONS
            beside = equal_variance(seasons) * np.float32(BESIDE_KNOWN if known else 1)
            values = _rounded(np.concatenate([equal_variance(one.values), beside], axis=1))
            widths = () if known else (one.values.shape[1], seasons.shape[1])
            digest = f"{one.digest}-s{_FORMAT + 1}{'d' if known else 'c'}"
            found.append(Feature(f"{one.name} + seasons", "joined", digest, values, widths))
    months = _filled(standardised(monthly_statistics(place.tile, rows, cols)))
    found.append(Feature("monthly medians", "raw", f"m{_FORMAT}", months))
    found.append(Feature("seasonal statistics", "raw", f"s{_FORMAT + 1}", seasons))
    return found


def equal_variance(values: Floats) -> Floats:
    """Centred, with a total variance of 1: parts so scaled weigh the same in distances."""
    centred = values - values.mean(0)
    return (centred / max(float(np.sqrt(centred.var(0, dtype=np.float64).sum())), 1e-12)).astype(np.float32)


def _rounded(values: Floats) -> Floats:
    return dequantise(*quantise(values.astype(np.float32), "v2"))


def _filled(values: Floats) -> Floats:
    """A pixel that a sensor never saw gets the mean, which is 0: no method may leave pixels out that another is judged on."""
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _print_of(loaded: LoadedEncoder | LoadedExternal) -> str:
    return loaded.fingerprint if isinstance(loaded, LoadedExternal) else loaded.sha256[:16]


def _embedded(place: RealPlace, loaded: LoadedEncoder | LoadedExternal, kept: Path | None) -> Floats:
    path = None if kept is None else kept / f"{place.digest}-{_print_of(loaded)}.npy"
    if path is not None and path.exists():
        known = load_npy(path, TileError)
        if known.shape[:1] == (len(place),):
            return np.array(known, np.float32)
    rows, cols = place.reference.rows, place.reference.cols
    if isinstance(loaded, LoadedExternal):
        values = _rounded(_filled(embed_pixels(loaded, place.tile, rows, cols, place.lonlat)))
    else:
        pixels = pack_tile(place.tile, rows, cols, max_s2=_MAX_S2, max_s1=_MAX_S1, seed=0)
        values = _rounded(embed(loaded.encoder, loaded.config.normalisation, pixels))
    if path is not None:
        _keep(path, values)
    return values


def _keep(path: Path, values: NDArray[Any]) -> None:
    with atomic_path(path) as part, part.open("wb") as file:
        np.save(file, values)


# ---------------------------------------------------------------------------------------------------------------- the study


def parts_of(place: RealPlace, setting: Setting, draw: int) -> NDArray[np.intp]:
    """The part (N,) of the ground that each pixel lies in, in one draw; each part is judged by a head that the others taught."""
    how, rng = setting.of(place), np.random.default_rng((setting.seed, draw, 1))
    if how == "zones":
        along = place.xy[:, (draw + 1) % 2]
        return (along > np.median(along)).astype(np.intp)
    return deal(place.reference.y, place.reference.groups, folds_of(place) if how == "fields" else 2, rng)


def folds_of(place: RealPlace) -> int:
    """In how many parts fields are dealt: four, or two where a class has fewer than four fields."""
    y, groups = place.reference.y, place.reference.groups
    fewest = min(len(np.unique(groups[y == k])) for k in np.unique(y))
    return FIELD_FOLDS if fewest >= FIELD_FOLDS else FEWEST_FOLDS


def _usable(place: RealPlace, setting: Setting) -> RealPlace:
    """The classes with enough ground to teach by some of it and judge by other; of two classes with few fields, both."""
    if setting.of(place) == "fields":
        many = place.with_fields_for(FIELD_FOLDS)
        if len(np.unique(many.reference.y)) > 1:
            return many
    return place.with_fields_for(FEWEST_FOLDS)


def labels_of(
    place: RealPlace, part: NDArray[np.intp], judged: int, counts: Sequence[int], rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Which pixels teach, for each number of labels a class, the fewer among the more: one of every group before any gives a
    second; a class with fewer gives all it has."""
    y, groups = place.reference.y, place.reference.groups
    pool = rng.permutation(np.flatnonzero(part != judged))
    taught: list[list[NDArray[np.intp]]] = [[] for _ in counts]
    for k in np.unique(y):
        mine = pool[y[pool] == k]
        # The turn of each among those of its group, in the shuffled order.
        order = np.argsort(groups[mine], kind="stable")
        starts = np.searchsorted(groups[mine][order], groups[mine][order])
        turn = np.empty(len(mine), int)
        turn[order] = np.arange(len(mine)) - starts
        ranked = mine[np.argsort(turn, kind="stable")]
        for chosen, count in zip(taught, counts, strict=True):
            chosen.append(ranked[:count])
    return [np.concatenate(chosen) for chosen in taught]


def judge(place: RealPlace, feature: Feature, head: str, setting: Setting) -> NDArray[np.uint8]:
    """What a head said of every pixel, uint8 (draws, counts, N) class ids; 0 where nothing could be taught."""
    y, groups = place.reference.y, place.reference.groups
    said = np.zeros((setting.draws, len(setting.counts), len(y)), np.uint8)
    for draw in range(setting.draws):
        part = parts_of(place, setting, draw)
        for judged in np.unique(part):
            rng = np.random.default_rng((setting.seed, draw, 2, judged))
            test = np.flatnonzero(part == judged)
            for number, train in enumerate(labels_of(place, part, int(judged), setting.counts, rng)):
                if len(np.unique(y[train])) < 2:
                    continue
                x, truth = feature.values[train], y[train].astype(np.int64)
                said[draw, number, test] = predicted(
                    head, x, truth, groups[train], feature.values[test], draw, feature.blocks
                )
    return said


def run(
    places: Sequence[RealPlace],
    encoders: Sequence[LoadedEncoder | LoadedExternal],
    out: str | Path,
    setting: Setting | None = None,
    *,
    heads: Sequence[str] = ("means", "logistic"),
    joined: bool = True,
    against: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare on all places; writes ``real.json``, ``real.md``, ``real.csv`` and ``real.png`` to ``out``.

    Args:
        places: labelled pixels.
        encoders: loaded weights, and encoders of others.
        out: folder; what is done lies in its folder ``kept`` and is not done again.
        setting: how.
        heads: keys of :data:`~tessera_core.pretrain.studies.peers.HEADS`, on every feature; the forest on raw statistics only.
        joined: whether to join embeddings with seasonal statistics.
        against: features by name, with which every other one is compared, too, under the same head.
        progress: ``(done, total, message)``; units are methods on a place.

    Returns:
        JSON object: ``setting``, and ``places``, each with its name, pixels, classes, what is held out, and ``rows``: for each
        method and number of labels the mean and deviation of macro-F1 over draws, a 95 % interval over ground and draws, and
        the difference to the best raw method at that number, with its interval; ``ahead``: such differences to the best raw
        method and to each of ``against``, for each number of labels and their mean; and a ``verdict`` for each number.

    Raises:
        InputError: a head or a feature is not known, or a place has fewer than two classes that can be taught and judged.
    """
    setting, out = setting or Setting(), Path(out)
    for head in heads:
        if head not in HEADS:
            raise InputError(f"There is no head {head!r} in this study; there are {', '.join(HEADS)}.")
    told, done = [], 0
    some = [one.at_most(MOST_PIXELS, setting.seed) for one in places]
    usable = [_usable(one, setting) for one in some]
    for before, place in zip(places, usable, strict=True):
        if len(np.unique(place.reference.y)) < 2:
            raise InputError(
                f"{before.name} has fewer than two classes with enough {before.whole} to teach by some and judge by others."
            )
    total = 1
    for place in usable:
        features = features_of(place, encoders, joined, out / "kept")
        for one in against:
            if one not in (names := [feature.name for feature in features]):
                raise InputError(
                    f"{place.name} has nothing called {one!r} to compare with; there are {', '.join(names)}."
                )
        methods = [(f, h) for f in features for h in heads if h != "forest" or f.kind == "raw"]
        total = len(methods) * len(usable)
        said = {}
        for feature, head in methods:
            if progress:
                progress(done, total, f"{place.name}: {feature.name}, {HEADS[head]}")
            path = out / "kept" / f"{_key(place, feature, head, setting)}.npy"
            if not path.exists():
                _keep(path, judge(place, feature, head, setting))
            said[f"{feature.name}, {HEADS[head]}"] = (feature.kind, np.array(load_npy(path, TileError)))
            done += 1
        told.append(summary(place, said, setting, against))
    result: dict[str, Any] = {"setting": asdict(setting), "encoders": {e.name: _print_of(e) for e in encoders}}
    result["places"] = told
    result["table"] = markdown(result)
    write_json(out / "real.json", result)
    write_text(out / "real.md", result["table"])
    write_text(out / "real.csv", as_csv(result))
    draw_figure(result, out / "real.png")
    if progress:
        progress(total, total, "")
    return result


def _key(place: RealPlace, feature: Feature, head: str, setting: Setting) -> str:
    told = [_FORMAT, place.digest, feature.name, feature.digest, head, setting.of(place), asdict(setting)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


# ---------------------------------------------------------------------------------------------------------------- scores


def confusions(place: RealPlace, said: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Counts (draws, counts, groups, K, K) of truth by what was said, for each group of ground; unsaid pixels count as wrong."""
    ids = np.unique(place.reference.y)
    k, groups = len(ids), int(place.reference.groups.max()) + 1
    truth = np.searchsorted(ids, place.reference.y)
    # One column more for what was not said.
    guess = np.where(np.isin(said, ids), np.searchsorted(ids, said), k)
    at = (place.reference.groups * k + truth) * (k + 1) + guess
    flat = at.reshape(-1, at.shape[-1])
    counted = np.stack([np.bincount(one, minlength=groups * k * (k + 1)) for one in flat])
    return counted.reshape(*said.shape[:2], groups, k, k + 1).astype(np.float64)


def macro_f1(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Macro-F1 of counts (..., K, K + 1), over the classes that are there.

    Example:
        >>> macro_f1(np.array([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])).round(4).tolist()
        0.7333
    """
    truth, guess = confusion.sum(-1), confusion[..., :-1].sum(-2)
    right = np.diagonal(confusion[..., :-1], axis1=-2, axis2=-1)
    each = 2 * right / np.maximum(truth + guess, 1e-12)
    there = truth > 0
    return np.asarray((each * there).sum(-1) / np.maximum(there.sum(-1), 1))


def summary(
    place: RealPlace,
    said: Mapping[str, tuple[Kind, NDArray[np.uint8]]],
    setting: Setting,
    against: Sequence[str] = (),
) -> dict[str, Any]:
    """The rows of one place; see :func:`run`.

    Intervals resample whole groups of ground and draws of labels together, the same ones for every method: that other ground
    would have been mapped and other places labelled is what they answer for. Draws alone, which share their ground, would
    promise too much.
    """
    groups = int(place.reference.groups.max()) + 1
    rng = np.random.default_rng((setting.seed, 3))
    weight = rng.multinomial(groups, np.full(groups, 1 / groups), RESAMPLED).astype(np.float64)
    drawn = rng.integers(setting.draws, size=(RESAMPLED, setting.draws))
    means, spread, samples, kinds = {}, {}, {}, {}
    for name, (kind, answers) in said.items():
        counted = confusions(place, answers)
        scores = macro_f1(counted.sum(2))
        means[name], spread[name], kinds[name] = scores.mean(0), scores, kind
        # (draws, counts, resampled): one product for each, as the groups are many.
        resampled = macro_f1(np.einsum("rg,dngij->dnrij", weight, counted, optimize=True))
        samples[name] = np.take_along_axis(resampled, drawn.T[:, None, :], axis=0).mean(0)
    rows = []
    raw = [name for name in means if kinds[name] == "raw"]
    for name in means:
        for number, count in enumerate(setting.counts):
            best = max(raw, key=lambda one: float(means[one][number]))
            difference = samples[name][number] - samples[best][number]
            low, high = np.percentile(samples[name][number], [2.5, 97.5])
            less, more = np.percentile(difference, [2.5, 97.5])
            rows.append(
                {
                    "method": name,
                    "kind": kinds[name],
                    "labels": count,
                    "macro_f1": round(float(means[name][number]), 4),
                    "scores": [round(float(one), 4) for one in spread[name][:, number]],
                    "interval": [round(float(low), 4), round(float(high), 4)],
                    "best_raw": best,
                    "difference": round(float(means[name][number] - means[best][number]), 4),
                    "difference_interval": [round(float(less), 4), round(float(more), 4)],
                }
            )
    names, y = place.reference.names, place.reference.y
    verdicts = [_verdict(means, samples, number, count) for number, count in enumerate(setting.counts)]
    return {
        "name": place.name,
        "verdict": verdicts,
        "pixels": len(place),
        "groups": groups,
        "held_out": setting.of(place),
        "classes": {names[k]: int((y == k).sum()) for k in np.unique(y).tolist()},
        "rows": rows,
        "ahead": _ahead(means, samples, kinds, setting.counts, against),
    }


def _ahead(
    means: Mapping[str, NDArray[np.float64]],
    samples: Mapping[str, NDArray[np.float64]],
    kinds: Mapping[str, Kind],
    counts: Sequence[int],
    against: Sequence[str],
) -> list[dict[str, Any]]:
    """Differences of every method to its rivals, for each number of labels and their mean: ``labels`` is a number or ``"mean"``.

    The rival is the best raw method at that number, and each feature of ``against`` under the method's own head.
    """
    raw = [name for name in means if kinds[name] == "raw"]
    best = [max(raw, key=lambda one: float(means[one][at])) for at in range(len(counts))]
    told = []
    for of in (BEST_RAW, *against):
        for name in means:
            feature, _, head = name.rpartition(", ")
            rival = best if of == BEST_RAW else [f"{of}, {head}"] * len(counts)
            if (of == BEST_RAW and name in raw) or feature == of or not set(rival) <= set(means):
                continue
            each = np.stack([samples[name][at] - samples[rival[at]][at] for at in range(len(counts))])
            points = np.array([means[name][at] - means[rival[at]][at] for at in range(len(counts))])
            for labels, point, drawn in zip(
                (*counts, "mean"), (*points, points.mean()), (*each, each.mean(0)), strict=True
            ):
                low, high = np.percentile(drawn, [2.5, 97.5])
                interval = [round(float(low), 4), round(float(high), 4)]
                row = {"of": of, "method": name, "labels": labels, "difference": round(float(point), 4)}
                told.append({**row, "interval": interval})
    return told


def _verdict(
    means: Mapping[str, NDArray[np.float64]], samples: Mapping[str, NDArray[np.float64]], number: int, count: int
) -> dict[str, Any]:
    """Which method is best with so many labels, and whether that is certain of the next best one."""
    order = sorted(means, key=lambda name: -float(means[name][number]))
    best, others = order[0], order[1:]
    equal = []
    for other in others:
        low = float(np.percentile(samples[best][number] - samples[other][number], 2.5))
        if low <= 0:
            equal.append(other)
    said = f"With {count} label{'' if count == 1 else 's'} a class the best is {best} ({means[best][number]:.3f})"
    if not others:
        sentence = f"{said}."
    elif not equal:
        sentence = f"{said}, ahead of all others beyond chance."
    else:
        more = f" and {len(equal) - 2} more" if len(equal) > 2 else ""
        sentence = f"{said}; not certainly better than {', '.join(equal[:2])}{more}."
    return {"labels": count, "best": best, "as_good": equal, "sentence": sentence}
