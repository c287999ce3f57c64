"""What differs between the TESSERA encoders, as named configuration, and the published presets.

Knows numbers and names only: no torch, no files. Spec sections 0 to 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from tessera_core.errors import CheckpointError
from tessera_core.models.normalisation import NORMALISATIONS, Normalisation

Family = Literal["v1.0-fp32", "v1.0-qat", "v1.1", "v2-student", "v2-teacher"]
Pooling = Literal["attention", "torch-gru", "custom-gru"]
NormPlacement = Literal["post", "pre"]
Reducer = Literal["linear", "mlp"]
SamplingRule = Literal["v1.0", "v1.1", "v2"]
QuantiserRule = Literal["v1", "v2"]
ResetGate = Literal["before", "after"]
Days = Literal["exact", "bf16"]
Arithmetic = Literal["trained", "dclimate"]

# Clear optical dates below which the publisher of 1.1/dclimate gives a pixel no embedding.
MIN_OPTICAL = 15
DEFAULT_BINS = tuple(range(8, 257, 8))


@dataclass(frozen=True)
class StackConfig:
    """A stack of transformer layers: how many, attention heads, feed-forward width."""

    layers: int
    heads: int
    feedforward: int


@dataclass(frozen=True)
class Sampling:
    """How a pixel's valid observations become a sequence.

    Attributes:
        rule: ``"v1.0"`` random draws, ``"v1.1"`` and ``"v2"`` all observations filled up to a bin by repetition.
        bins: permitted sequence lengths, ascending (not used by v1.0).
        draws: sequence length of v1.0.
        min_valid: v1.0 only: pixels with fewer valid steps in either modality are skipped.
        dummy_sar: v1.0 QAT only: an orbit without dates counts as one invalid all-zero step on day 180.
        min_optical: v1.1 only: pixels with fewer valid optical dates are not run.
    """

    rule: SamplingRule
    bins: tuple[int, ...] = DEFAULT_BINS
    draws: int = 40
    min_valid: int = 0
    dummy_sar: bool = False
    min_optical: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bins", tuple(int(b) for b in self.bins))
        if self.rule not in get_args(SamplingRule):
            raise CheckpointError(f"The sampling rule {self.rule!r} is not known.")
        if not self.bins or min(self.bins) < 1 or list(self.bins) != sorted(set(self.bins)) or self.draws < 1:
            raise CheckpointError("The sequence length bins of a checkpoint must be ascending positive integers.")


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that distinguishes one encoder from another.

    Attributes:
        family: which published family the state-dict names follow.
        latent_dim: model width / 4.
        representation_dim: length of the network's output.
        s2, s1: transformer stacks of the two backbones.
        norm: LayerNorm after (``"post"``) or before (``"pre"``) each sub-layer.
        qk_norm: RMS-normalise every query and key head.
        pooling: what the attention pooling's scores are computed from.
        fusion: transformer over the two pooled vectors, or None for concatenation only.
        reducer: one Linear, or Linear-LayerNorm-ReLU-Dropout-Linear.
        final_layernorm: LayerNorm without parameters over the output.
        dropout: in the transformer layers, while training.
        reducer_dropout: in the reducer, while training.
        output_dim: leading values of the output that make up the embedding.
        prefixes: lengths that may be used as embeddings of their own (Matryoshka).
        quantiser: int8 rule, or None where the authors offer no int8.
        sampling: see :class:`Sampling`.
        normalisation: see :class:`~tessera_core.models.normalisation.Normalisation`.
        reset: custom GRU only: whether the reset gate acts before or after the candidate's state product.
        days: whether days of the year enter exactly or rounded to bfloat16, which moves odd ones above 256.
    """

    family: Family
    latent_dim: int
    representation_dim: int
    s2: StackConfig
    s1: StackConfig
    output_dim: int
    sampling: Sampling
    normalisation: Normalisation
    norm: NormPlacement = "post"
    qk_norm: bool = False
    pooling: Pooling = "attention"
    fusion: StackConfig | None = None
    reducer: Reducer = "mlp"
    final_layernorm: bool = False
    dropout: float = 0.0
    reducer_dropout: float = 0.2
    prefixes: tuple[int, ...] = field(default=())
    quantiser: QuantiserRule | None = "v2"
    reset: ResetGate = "before"
    days: Days = "exact"

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefixes", tuple(int(p) for p in self.prefixes) or (self.output_dim,))
        choices = {
            "family": Family,
            "norm": NormPlacement,
            "pooling": Pooling,
            "reducer": Reducer,
            "quantiser": QuantiserRule,
            "reset": ResetGate,
            "days": Days,
        }
        for name, choice in choices.items():
            value = getattr(self, name)
            if value not in get_args(choice) and not (name == "quantiser" and value is None):
                raise CheckpointError(f"The encoder configuration has an unknown {name}: {value!r}.")
        stacks = [self.s2, self.s1] + ([self.fusion] if self.fusion else [])
        for stack in stacks:
            if min(stack.layers, stack.heads, stack.feedforward) < 1 or self.width % stack.heads:
                raise CheckpointError(
                    f"The encoder configuration is not possible: width {self.width} with {stack.layers} layers, "
                    f"{stack.heads} heads and feed-forward {stack.feedforward}."
                )
        if not 1 <= self.output_dim <= self.representation_dim or not all(
            1 <= p <= self.output_dim for p in self.prefixes
        ):
            raise CheckpointError(
                f"The encoder configuration is not possible: embeddings of {self.output_dim} values "
                f"(prefixes {self.prefixes}) from an output of {self.representation_dim}."
            )

    @property
    def width(self) -> int:
        """Model width d."""
        return 4 * self.latent_dim

    @property
    def order_matters(self) -> bool:
        """Whether the order (and exact repetition) of observations changes the result, as with the recurrent pooling."""
        return self.pooling != "attention"

    def with_normalisation(self, normalisation: Normalisation) -> EncoderConfig:
        """A copy that normalises with another set."""
        return replace(self, normalisation=normalisation)

    @property
    def arithmetic(self) -> Arithmetic:
        """How the network is computed: as it was trained, or as the published ``1.1/dclimate`` was."""
        return "dclimate" if (self.reset, self.days) == ("after", "bf16") else "trained"

    def with_arithmetic(self, arithmetic: Arithmetic) -> EncoderConfig:
        """A copy that is computed otherwise.

        ``"dclimate"`` is how the published store ``1.1/dclimate`` was made: the reset gate after the candidate's matrix product,
        days of the year rounded to bfloat16, and nothing for pixels with fewer than 15 clear optical dates
        (docs/spec/model.md, "The published arithmetic").

        Raises:
            CheckpointError: no such arithmetic, or not for this family.

        Example:
            >>> PRESETS["v1.1-aws"].with_arithmetic("dclimate").sampling.min_optical
            15
        """
        if arithmetic not in get_args(Arithmetic):
            raise CheckpointError(
                f"The arithmetic {arithmetic!r} is not known; it is {' or '.join(get_args(Arithmetic))}."
            )
        if arithmetic == "trained":
            return replace(self, reset="before", days="exact", sampling=replace(self.sampling, min_optical=0))
        if self.family != "v1.1":
            raise CheckpointError(
                f"The arithmetic dclimate belongs to weights of TESSERA 1.1; these are of the family {self.family}. Leave it away."
            )
        return replace(self, reset="after", days="bf16", sampling=replace(self.sampling, min_optical=MIN_OPTICAL))

    def to_json(self) -> dict[str, Any]:
        """JSON object of all fields."""
        value = asdict(self)
        value["normalisation"] = self.normalisation.to_json()
        value["prefixes"] = list(self.prefixes)
        value["sampling"]["bins"] = list(self.sampling.bins)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EncoderConfig:
        """The inverse of :meth:`to_json`.

        Raises:
            CheckpointError: a field is missing, unknown or impossible.
        """
        try:
            known = dict(value)
            known["s2"], known["s1"] = StackConfig(**known["s2"]), StackConfig(**known["s1"])
            if known.get("fusion"):
                known["fusion"] = StackConfig(**known["fusion"])
            known["sampling"] = Sampling(**known["sampling"])
            known["normalisation"] = Normalisation.from_json(known["normalisation"])
            return cls(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The encoder configuration in the checkpoint cannot be read: {error}.") from error


def v1_0_fp32(
    latent_dim: int = 128, layers: int = 8, heads: int = 8, feedforward: int = 4096, out: int = 128
) -> EncoderConfig:
    """TESSERA v1.0 fp32: torch GRU pooling, one-Linear reducer, 40 + 40 random observations (spec 1.2)."""
    stack = StackConfig(layers, heads, feedforward)
    return EncoderConfig(
        family="v1.0-fp32",
        latent_dim=latent_dim,
        representation_dim=out,
        output_dim=out,
        s2=stack,
        s1=stack,
        pooling="torch-gru",
        reducer="linear",
        dropout=0.1,
        quantiser=None,
        sampling=Sampling("v1.0"),
        normalisation=NORMALISATIONS["v1.0"],
    )


def v1_0_qat(
    latent_dim: int = 128, layers: int = 4, heads: int = 4, feedforward: int = 4096, out: int = 128
) -> EncoderConfig:
    """TESSERA v1.0 QAT, the model behind GeoTessera v1: custom GRU pooling, int8 output (spec 1.3)."""
    base = v1_0_fp32(latent_dim, layers, heads, feedforward, out)
    return replace(
        base, family="v1.0-qat", pooling="custom-gru", quantiser="v1", sampling=Sampling("v1.0", dummy_sar=True)
    )


def v1_1(
    latent_dim: int = 192,
    out: int = 192,
    kept: int = 128,
    s2: StackConfig = StackConfig(4, 4, 2048),
    s1: StackConfig = StackConfig(4, 4, 2048),
    bins: tuple[int, ...] = DEFAULT_BINS,
    source: Literal["mpc", "aws"] = "mpc",
) -> EncoderConfig:
    """TESSERA v1.1: custom GRU pooling, MLP reducer, all observations, first 128 of 192 values (spec 1.4)."""
    return EncoderConfig(
        family="v1.1",
        latent_dim=latent_dim,
        representation_dim=out,
        output_dim=kept,
        s2=s2,
        s1=s1,
        pooling="custom-gru",
        dropout=0.1,
        quantiser="v1",
        sampling=Sampling("v1.1", bins),
        normalisation=NORMALISATIONS[f"v1.1-{source}"],
    )


def v2_student(
    latent_dim: int = 64,
    layers: int = 4,
    heads: int = 4,
    feedforward: int = 1024,
    out: int = 128,
    prefixes: tuple[int, ...] = (16, 32, 64, 128),
    qk_norm: bool = False,
) -> EncoderConfig:
    """TESSERA v2 student: attention pooling, MLP reducer, final LayerNorm, Matryoshka prefixes (spec 1.5)."""
    stack = StackConfig(layers, heads, feedforward)
    return EncoderConfig(
        family="v2-student",
        latent_dim=latent_dim,
        representation_dim=out,
        output_dim=out,
        s2=stack,
        s1=stack,
        qk_norm=qk_norm,
        final_layernorm=True,
        prefixes=prefixes,
        sampling=Sampling("v2"),
        normalisation=NORMALISATIONS["v2-student"],
    )


def v2_teacher(
    latent_dim: int = 1024,
    layers: int = 4,
    heads: int = 4,
    feedforward: int = 16384,
    out: int = 1024,
    final_layernorm: bool = True,
) -> EncoderConfig:
    """TESSERA v2 teacher: pre-norm QK-norm layers, fusion transformer, 1024 values, no int8 (spec 1.6)."""
    stack = StackConfig(layers, heads, feedforward)
    return EncoderConfig(
        family="v2-teacher",
        latent_dim=latent_dim,
        representation_dim=out,
        output_dim=out,
        s2=stack,
        s1=stack,
        norm="pre",
        qk_norm=True,
        # Always two layers of four heads, whatever the backbones have.
        fusion=StackConfig(2, 4, 2 * 4 * latent_dim),
        final_layernorm=final_layernorm,
        quantiser=None,
        sampling=Sampling("v2"),
        normalisation=NORMALISATIONS["v2-teacher"],
    )


PRESETS: dict[str, EncoderConfig] = {
    "v1.0-fp32": v1_0_fp32(),
    "v1.0-qat": v1_0_qat(),
    "v1.1-mpc": v1_1(source="mpc"),
    "v1.1-aws": v1_1(source="aws"),
    "v1.1-dclimate": v1_1(source="aws").with_arithmetic("dclimate"),
    "v2-nano": v2_student(36, 2, 4, 384),
    "v2-small": v2_student(64, 4, 4, 1024),
    "v2-medium": v2_student(110, 4, 4, 1792),
    "v2-large": v2_student(160, 4, 4, 2560),
    "v2-teacher": v2_teacher(),
}
