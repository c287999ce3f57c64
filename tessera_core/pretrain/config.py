"""What a pretraining run is: a TOML file, checked before anything is computed.

Owns the settings, their defaults and ranges, and one sentence for each mistake in a file. Knows no arrays and no torch.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from tessera_core.errors import InputError
from tessera_core.gate import is_missing, read_bytes
from tessera_core.models.config import PRESETS, EncoderConfig

CONFIGS = Path(__file__).parent / "configs"
# What settings of a section were called before.
_RENAMED = {"data": {"imagined": "randomised"}}


class PretrainError(InputError):
    """A pretraining run is configured or fed wrongly."""


def _setting(default: Any, low: float | None = None, high: float | None = None, **more: Any) -> Any:
    """A field with a range; ``low`` and ``high`` are inclusive."""
    return field(default=default, metadata={"low": low, "high": high, **more})


@dataclass(frozen=True)
class ModelSettings:
    """``[model]``: the encoder.

    Attributes:
        preset: one of the v2 architectures of :data:`tessera_core.models.config.PRESETS`.
        normalisation: ``"data"`` computes the statistics from the training pixels, or the name of a published set.
        dropout, reducer_dropout: while training.
    """

    preset: str = _setting("v2-nano", choices=tuple(name for name in PRESETS if name.startswith("v2-")))
    normalisation: str = _setting("data", choices=("data", "v1.0", "v1.1-mpc", "v1.1-aws", "v2-student", "v2-teacher"))
    dropout: float = _setting(0.0, 0, 0.9)
    reducer_dropout: float = _setting(0.0, 0, 0.9)


@dataclass(frozen=True)
class DataSettings:
    """``[data]``: where pixels come from and how they are shuffled.

    Attributes:
        simulated: pixels drawn from simulated worlds.
        climates: of those worlds, names in :data:`tessera_core.dpixels.simulate.climates.CLIMATES`.
        randomised: chance that a training world's covers are random ones, see :mod:`tessera_core.dpixels.simulate.randomised`;
            worlds that the monitor probes have real covers always.
        tiles: folders with d-pixel tiles, relative to the configuration file.
        pixels_per_tile: most pixels taken from each tile.
        shards: files that the globally shuffled pixels are cut into, at least.
        shard_pixels: most pixels, about, in a shard, which training holds in memory (2 kB each); more shards are cut if need be.
        max_s2, max_s1: most observations kept per pixel.
        holdout_worlds: further simulated worlds, with other seeds, that only the monitor sees.
        shuffle: global shuffling; without it pixels stay in the order of their tiles and worlds (for ablations).
    """

    simulated: int = _setting(0, 0)
    climates: tuple[str, ...] = _setting(("temperate",))
    randomised: float = _setting(0.0, 0, 1)
    tiles: tuple[str, ...] = _setting(())
    pixels_per_tile: int = _setting(65536, 1)
    shards: int = _setting(8, 1)
    shard_pixels: int = _setting(500_000, 1)
    max_s2: int = _setting(64, 2, 512)
    max_s1: int = _setting(96, 2, 1024)
    holdout_worlds: int = _setting(4, 0)
    shuffle: bool = _setting(True)


@dataclass(frozen=True)
class ViewSettings:
    """``[views]``: see :class:`tessera_core.pretrain.views.Disturbance` for all but the first two.

    Attributes:
        s2, s1: fewest and most observations per view; one number is drawn per batch.
    """

    s2: tuple[int, ...] = _setting((40, 40), 1, 512, length=2)
    s1: tuple[int, ...] = _setting((40, 40), 1, 1024, length=2)
    drop_s1: float = _setting(0.0, 0, 0.5)
    drop_s2: float = _setting(0.0, 0, 0.5)
    drop_orbit: float = _setting(0.0, 0, 1)
    window: float = _setting(0.0, 0, 1)
    window_days: tuple[int, ...] = _setting((180, 330), 1, 366, length=2)
    gain: float = _setting(0.0, 0, 0.5)
    haze: float = _setting(0.0, 0, 0.5)
    radar_db: float = _setting(0.0, 0, 10)


@dataclass(frozen=True)
class ObjectiveSettings:
    """``[objective]``: Barlow Twins.

    Attributes:
        lambda_: weight of the off-diagonal terms (written ``lambda`` in the file).
        mixup: weight of the mix-up term; 0 leaves the third forward pass out.
        mixup_rows: share of the batch that the mix-up term sees.
        projector: widths of the projector's hidden layers and, last, of its output.
        prefixes: shorter prefixes of the representation that get a projector and a loss of their own.
        prefix_weight: weight of each of them.
        int8: fake-quantise the representation while training (straight-through gradient).
    """

    lambda_: float = _setting(5e-3, 0)
    mixup: float = _setting(1.0, 0)
    mixup_rows: float = _setting(1.0, 0.05, 1)
    projector: tuple[int, ...] = _setting((1024, 1024), 2, 65536)
    prefixes: tuple[int, ...] = _setting((), 1, 4096)
    prefix_weight: float = _setting(0.25, 0)
    int8: bool = _setting(False)


@dataclass(frozen=True)
class DistillationSettings:
    """``[distillation]``: learn from the embeddings of a trained encoder (docs/spec/model.md section 5, v2 students).

    Attributes:
        teacher: name or file of its checkpoint; empty = no distillation.
        loss: between the teacher's embedding of all observations of a pixel and what one linear head per prefix (and for the
            full width) makes of each view's representation.
        weight: of this loss, a mean over pixels, heads and values.
        barlow: weight of the Barlow Twins objective beside it; 0 leaves projectors and mix-up out.
    """

    teacher: str = _setting("")
    loss: str = _setting("cosine", choices=("cosine", "mse", "cosine+mse"))
    weight: float = _setting(1.0, 0)
    barlow: float = _setting(0.0, 0)


@dataclass(frozen=True)
class OptimiserSettings:
    """``[optimiser]``: AdamW with two parameter groups.

    Attributes:
        learning_rate: peak of the schedule.
        matrix_rate, vector_rate: factors of tensors with more than one dimension, and of biases and norms.
        weight_decay: of the matrices and the vectors alike, as published.
        warmup, plateau: shares of the run.
        clip: largest gradient norm.
    """

    learning_rate: float = _setting(2e-3, 0)
    matrix_rate: float = _setting(1.0, 0)
    vector_rate: float = _setting(1.0, 0)
    weight_decay: float = _setting(1e-6, 0)
    warmup: float = _setting(0.1, 0, 1)
    plateau: float = _setting(0.0, 0, 1)
    clip: float = _setting(2.0, 0)


@dataclass(frozen=True)
class RunSettings:
    """``[run]``: how long, how big, how often something is written.

    Attributes:
        steps: optimiser steps.
        batch: pixels per step, of all processes together; the correlations are over all of them.
        micro_batch: rows per encoder call, so that activations stay in cache; does not change the result's meaning.
        accumulate: keep the activations of one micro-batch only, for batches larger than memory: the encoder runs a second
            time for the gradients, a third more work. The loss and the gradients stay those of the whole batch.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU where there is one.
        dtype: ``"fp32"``, or ``"bf16"`` autocast of the encoder.
        threads: torch's threads; a resumed run must use as many to give the same numbers.
        checkpoint_every, probe_every, log_every: in steps; ``probe_every = 0`` never probes.
        probe_labels: labels per class of the monitor's linear probe.
    """

    steps: int = _setting(1000, 1)
    batch: int = _setting(512, 2)
    micro_batch: int = _setting(256, 1)
    accumulate: bool = _setting(False)
    device: str = _setting("auto", choices=("auto", "cpu", "cuda"))
    dtype: str = _setting("fp32", choices=("fp32", "bf16"))
    threads: int = _setting(2, 1, 1024)
    checkpoint_every: int = _setting(100, 1)
    probe_every: int = _setting(0, 0)
    log_every: int = _setting(1, 1)
    probe_labels: tuple[int, ...] = _setting((5, 50), 1)


@dataclass(frozen=True)
class PretrainConfig:
    """A whole run; sections as in the TOML file."""

    name: str = _setting("studio")
    seed: int = _setting(0, 0)
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    run: RunSettings = field(default_factory=RunSettings)

    @classmethod
    def load(cls, path: str | Path) -> PretrainConfig:
        """Read a TOML file; a bare name such as ``studio-nano`` means one of the shipped configurations.

        Raises:
            PretrainError: the file is missing, no TOML, or a setting is unknown, of the wrong type, out of range or
                contradicts another.
        """
        path = Path(path)
        shipped = CONFIGS / f"{path}.toml"
        if is_missing(path) and shipped.is_file():
            path = shipped
        if is_missing(path):
            raise PretrainError(f"There is no configuration file {path}.")
        data = read_bytes(path, PretrainError)
        try:
            raw = tomllib.loads(data.decode("utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise PretrainError(f"{path} is not valid TOML: {error}.") from error
        except (UnicodeDecodeError, RecursionError) as error:
            raise PretrainError(f"{path} cannot be read as a text file.") from error
        return cls.from_mapping(raw, str(path))

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], where: str = "the configuration") -> PretrainConfig:
        """The same from a mapping; ``where`` names it in messages.

        Raises:
            PretrainError: see :meth:`load`.
        """
        config: PretrainConfig = _build(cls, raw, where, "")
        config._check(where)
        return config

    def _check(self, where: str) -> None:
        def require(condition: bool, message: str) -> None:
            if not condition:
                raise PretrainError(f"In {where}, {message}.")

        from tessera_core.dpixels.simulate.climates import CLIMATES

        data, views, run = self.data, self.views, self.run
        for name in data.climates:
            close = "".join(f"; did you mean {c!r}?" for c in difflib.get_close_matches(name, CLIMATES, 1))
            require(
                name in CLIMATES,
                f"data.climates has {name!r}, but the simulator's climates are {', '.join(CLIMATES)}{close}",
            )
        require(bool(data.climates), "data.climates names no climate; leave it out for the temperate one")
        require(bool(data.simulated or data.tiles), "data needs simulated above 0, or tiles")
        require(
            not (run.probe_every and data.holdout_worlds == 0),
            "run.probe_every needs data.holdout_worlds above 0: the probe never looks at training worlds",
        )
        for name, most in (("s2", data.max_s2), ("s1", data.max_s1)):
            low, high = getattr(views, name)
            require(low <= high, f"views.{name} = [{low}, {high}] must be [fewest, most]")
            require(high <= most, f"views.{name} asks for {high} observations but data.max_{name} keeps only {most}")
        require(views.window_days[0] <= views.window_days[1], "views.window_days must be [shortest, longest]")
        require(views.drop_s1 + views.drop_s2 <= 1, "views.drop_s1 + views.drop_s2 may not exceed 1")
        require(
            self.optimiser.warmup + self.optimiser.plateau <= 1, "optimiser.warmup + optimiser.plateau may not exceed 1"
        )
        out = PRESETS[self.model.preset].representation_dim
        for prefix in self.objective.prefixes:
            require(
                prefix < out,
                f"objective.prefixes has {prefix}, but must be shorter than the {out} values of {self.model.preset}",
            )
        distillation = self.distillation
        if distillation.teacher:
            require(
                distillation.weight > 0,
                "distillation.weight must be above 0 where distillation.teacher names a teacher",
            )
        else:
            require(
                distillation == DistillationSettings(), "distillation has settings but distillation.teacher is missing"
            )
        require(run.batch * self.objective.mixup_rows >= 2, "run.batch x objective.mixup_rows must be at least 2")

    def encoder_config(self) -> EncoderConfig:
        """The encoder's configuration, with the preset's normalisation until the data's is known."""
        from dataclasses import replace

        return replace(
            PRESETS[self.model.preset], dropout=self.model.dropout, reducer_dropout=self.model.reducer_dropout
        )

    @property
    def contrasts(self) -> bool:
        """Whether the Barlow Twins objective takes part; in a distillation it may not."""
        return not self.distillation.teacher or self.distillation.barlow > 0

    def to_json(self) -> dict[str, Any]:
        """JSON object of all settings, defaults included."""
        return asdict(self)


def completed(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that an earlier version wrote, under today's names, with the defaults of those that it did not know."""

    def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        both = {**base, **own}
        return {
            key: merge(base[key], value) if isinstance(value, Mapping) and isinstance(base.get(key), Mapping) else value
            for key, value in both.items()
        }

    sections = {key: current_names(value, key) if isinstance(value, Mapping) else value for key, value in saved.items()}
    return merge(PretrainConfig().to_json(), sections)


def current_names(raw: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A section with its settings under today's names; what is there under both is left, so that it can be told."""
    former = _RENAMED.get(section, {})
    return {(key if former.get(key, key) in raw else former.get(key, key)): value for key, value in raw.items()}


def differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the settings in which two :meth:`PretrainConfig.to_json` objects differ."""
    names: list[str] = []
    for key in sorted(set(first) | set(second)):
        a, b = first.get(key), second.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            names += differences(a, b, f"{prefix}{key}.")
        elif (list(a) if isinstance(a, tuple) else a) != (list(b) if isinstance(b, tuple) else b):
            names.append(f"{prefix}{key}")
    return names


def _build(cls: type, raw: Any, where: str, prefix: str) -> Any:
    if not isinstance(raw, Mapping):
        raise PretrainError(f"In {where}, {prefix.rstrip('.')} must be a section, [{prefix.rstrip('.')}], not {raw!r}.")
    hints = get_type_hints(cls)
    known = {f.name.rstrip("_"): f for f in fields(cls)}
    values: dict[str, Any] = {}
    for key, value in current_names(raw, prefix.rstrip(".")).items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(known)}."
            raise PretrainError(f"In {where}, {prefix}{key} is not a setting; {hint}")
        f = known[key]
        if is_dataclass(hints[f.name]):
            values[f.name] = _build(hints[f.name], value, where, f"{key}.")
        else:
            values[f.name] = _value(hints[f.name], value, f.metadata, where, f"{prefix}{key}")
    for f in fields(cls):
        if f.default is MISSING and f.default_factory is MISSING and f.name not in values:
            raise PretrainError(f"In {where}, {prefix}{f.name} is missing.")
    return cls(**values)


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _value(kind: Any, value: Any, limits: Mapping[str, Any], where: str, name: str) -> Any:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        length = limits.get("length")
        if not isinstance(value, list) or (length and len(value) != length):
            wanted = f"{length} values" if length else "values"
            raise PretrainError(f"In {where}, {name} must be a list of {wanted} in square brackets, not {value!r}.")
        return tuple(_value(item, v, limits, where, name) for v in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise PretrainError(f"In {where}, {name} must be {_NAMES[kind]}, not {value!r}.")
    low, high, choices = limits.get("low"), limits.get("high"), limits.get("choices")
    if choices and value not in choices:
        raise PretrainError(f"In {where}, {name} = {value!r} is not known; choose one of {', '.join(choices)}.")
    # Written so that NaN fails too.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        limit = f"between {low:g} and {high:g}" if low is not None and high is not None else f"at least {low:g}"
        raise PretrainError(f"In {where}, {name} = {value!r} must be {limit}.")
    return value
