"""Checkpoint files: read the published ones without running any code in them, read and write our own.

Owns recognition of the version from the tensors' names, strict loading, and the small safetensors format of the project.
Names and downloads are the zoo's; architecture is the encoder's.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tessera_core._utils.atomic import atomic_path, ordinary_mode
from tessera_core._utils.checksums import is_sound, sealed
from tessera_core.errors import CheckpointError
from tessera_core.gate import parse_json, regular
from tessera_core.models import zoo
from tessera_core.models.config import (
    DEFAULT_BINS,
    PRESETS,
    Arithmetic,
    EncoderConfig,
    Family,
    Sampling,
    StackConfig,
    v1_0_fp32,
    v1_0_qat,
    v1_1,
    v2_student,
    v2_teacher,
)
from tessera_core.models.encoder import Encoder
from tessera_core.models.normalisation import NORMALISATIONS
from tessera_core.provenance import Provenance

OUR_FORMAT = "tessera-encoder/1"
_METADATA_KEY = "tessera_encoder"
_WRAPPERS = ("model", "encoder_state_dict", "model_state", "model_state_dict")
_TRAINING_ONLY = ("projector.", "segmented_matryoshka_projector.")
_VERSIONS: dict[Family, str] = {
    "v1.0-fp32": "1.0",
    "v1.0-qat": "1.0",
    "v1.1": "1.1",
    "v2-student": "2.0",
    "v2-teacher": "2.0",
}


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder ready to run, and where it came from.

    Attributes:
        encoder: in evaluation mode, float32.
        config: what its inputs and outputs must look like; the same object as ``encoder.config`` unless
            :meth:`for_data` chose other statistics.
        name: e.g. ``"v2-nano"``, or the file's stem for weights nobody published.
        sha256: of the whole file.
        path: the file.
        model, version, variant: of the dataset its embeddings make (see :class:`Provenance`).
        data_source: ``"mpc"`` or ``"aws"`` where the weights belong to one of them.
        card: what our own checkpoints tell about themselves.
        notes: sentences for people: what was assumed, what may be wrong.
    """

    encoder: Encoder
    config: EncoderConfig
    name: str
    sha256: str
    path: Path
    model: str = "tessera"
    version: str = ""
    variant: str = ""
    data_source: str | None = None
    card: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def for_data(self, source: str | None) -> LoadedEncoder:
        """The same encoder prepared for data of ``"mpc"`` or ``"aws"``; None means unknown.

        v1.1 has weights and statistics for each source. Weights that name their source keep their statistics, and a wrong
        pairing adds a note; weights that do not are given the statistics of ``source``.

        Raises:
            CheckpointError: another source than these.
        """
        if source not in (None, "mpc", "aws"):
            raise CheckpointError(f"The data source {source!r} is not known; it is mpc or aws.")
        if self.config.family != "v1.1" or source is None:
            return self
        if self.data_source is None:
            config = self.config.with_normalisation(NORMALISATIONS[f"v1.1-{source}"])
            notes = (*(n for n in self.notes if n != _ASSUMED_MPC), f"Used the v1.1 statistics for {source} data.")
            base, also, arithmetic = self.variant.partition("-dclimate")
            variant = f"{base}{'-aws' if source == 'aws' else ''}{also}{arithmetic}"
            return replace(self, config=config, notes=notes, variant=variant)
        if self.data_source != source:
            warning = (
                f"Warning: these are the v1.1 weights for {self.data_source} data, but the tile comes from {source}; the "
                f"embeddings will differ from published ones. Use v1.1-{source} instead."
            )
            return replace(self, notes=(*self.notes, warning))
        return self

    def with_arithmetic(self, arithmetic: Arithmetic | None) -> LoadedEncoder:
        """The same weights computed otherwise, which makes another dataset; None changes nothing.

        Raises:
            CheckpointError: see :meth:`EncoderConfig.with_arithmetic`.
        """
        if arithmetic is None or arithmetic == self.config.arithmetic:
            return self
        if arithmetic == "trained":
            raise CheckpointError(
                f"{self.name} is computed as the published store was; for the trained arithmetic name v1.1-aws."
            )
        config = self.config.with_arithmetic(arithmetic)
        with torch.device("meta"):
            encoder = Encoder(config)
        encoder.load_state_dict(self.encoder.state_dict(), assign=True)
        name = next((n for n, of in zoo.OTHERWISE.items() if of == self.name), f"{self.name}-{arithmetic}")
        variant = arithmetic if self.name in zoo.OTHERWISE.values() else f"{self.variant}-{arithmetic}"
        return replace(self, encoder=encoder.eval(), config=config, name=name, variant=variant)

    def provenance(self, dim: int | None = None, **fields: Any) -> Provenance:
        """The stamp for embeddings of ``dim`` values made with these weights; ``fields`` such as year, source, details."""
        details = {"weights": self.path.name, **({"notes": list(self.notes)} if self.notes else {})}
        if self.config.reset == "after" or self.config.days != "exact":
            details |= {"arithmetic": self.config.arithmetic, "gru": self.config.arithmetic, "doy": self.config.days}
        details |= fields.pop("details", {})
        return Provenance(
            model=self.model,
            version=self.version,
            variant=self.variant,
            dim=self.config.output_dim if dim is None else dim,
            checksum=self.sha256,
            details=details,
            **fields,
        )


_ASSUMED_MPC = (
    "The file does not tell whether it is the mpc or the aws variant of v1.1; the statistics of mpc were used. "
    "State the data source if that is wrong."
)


def load_checkpoint(
    path_or_name: str | Path,
    device: str | torch.device = "cpu",
    *,
    data_source: str | None = None,
    arithmetic: Arithmetic | None = None,
    progress: zoo.Progress | None = None,
) -> LoadedEncoder:
    """Load an encoder by name (downloading it if need be) or from a file.

    Published files are unpickled with ``weights_only=True``; names are stripped of wrapping prefixes, training-only tensors
    dropped, the version recognised from the names, sizes inferred from shapes and compared with the stored configuration,
    and every tensor must fit.

    Args:
        path_or_name: see :func:`tessera_core.models.zoo.resolve`.
        device: where the encoder goes.
        data_source: see :meth:`LoadedEncoder.for_data`.
        arithmetic: see :meth:`EncoderConfig.with_arithmetic`; None for what the name says, which is ``"trained"`` but for
            ``"v1.1-dclimate"``.
        progress: of a download, in bytes.

    Raises:
        CheckpointError: the file is damaged, of another model, or needs more than weights to load.
        DownloadError: a published checkpoint could not be fetched.
    """
    name = str(path_or_name)
    if name in zoo.OTHERWISE:
        loaded = load_checkpoint(zoo.OTHERWISE[name], device, data_source=data_source, progress=progress)
        return loaded.with_arithmetic(PRESETS[name].arithmetic).with_arithmetic(arithmetic)
    path = zoo.resolve(path_or_name, progress)
    sha256 = zoo.file_sha256(path)
    if path.parent == zoo.WEIGHTS_FOLDER and zoo.SHIPPED.get(path.name, sha256) != sha256:
        raise CheckpointError(
            f"{path.name}, which came with this program, is damaged (its sha256 differs); install it again."
        )
    asked = zoo.PUBLISHED.get(str(path_or_name)) if str(path_or_name) != str(path) else None
    if asked and asked.sha256 and asked.sha256 != sha256:
        raise CheckpointError(
            f"The cached file {path.resolve()} is not the released {asked.name} (its sha256 differs); delete it and try again."
        )
    tensors, hints, ours = _read(path)
    state = _encoder_tensors(tensors, path)
    if ours is not None:
        config = EncoderConfig.from_json(ours["config"])
        encoder = _build(config, state, path)
        card = dict(ours["card"])
        loaded = LoadedEncoder(
            encoder,
            config,
            name=str(card.get("name") or path.stem),
            sha256=sha256,
            path=path,
            model=str(card.get("model") or "studio"),
            version=str(card.get("version", "")),
            # Two trainings must not pass for one dataset just because nobody named them.
            variant=str(card.get("variant", sha256[:8])),
            card=card,
        )
    else:
        try:
            config, notes = _infer_config(state, hints, path)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"The configuration inside {path.name} cannot be read ({error}).") from error
        encoder = _build(config, state, path)
        loaded = _identify(LoadedEncoder(encoder, config, path.stem, sha256, path, notes=tuple(notes)), asked)
    encoder.eval().to(device)
    return loaded.for_data(data_source).with_arithmetic(arithmetic)


def save_checkpoint(path: str | Path, encoder: Encoder, config: EncoderConfig, metadata: Mapping[str, Any]) -> Path:
    """Write our own checkpoint: safetensors with configuration, normalisation, sampling rule and a card; atomically.

    Args:
        path: ends in ``.safetensors``.
        encoder: its parameters are stored as float32.
        config: stored as JSON, including a custom normalisation.
        metadata: the card, JSON values: ``name``, ``model`` (default ``"studio"``), ``version``, ``variant`` (default: taken
            from the file's sha256 when loading) and anything people should know about the training.

    Raises:
        CheckpointError: the path's ending, or a tensor that is not finite.
        ExportError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"Our checkpoints end in .safetensors, not {path.suffix or 'nothing'}: {path}.")
    state = {key: value.detach().to("cpu", torch.float32).contiguous() for key, value in encoder.state_dict().items()}
    _require_finite(state, path)
    # One key only: safetensors orders several at random, and equal checkpoints should be equal files.
    document = {"format": OUR_FORMAT, "config": config.to_json(), "card": dict(metadata)}
    with atomic_path(path) as part:
        text = json.dumps(sealed(document, _as_bytes(state)), sort_keys=True, allow_nan=False)
        save_file(state, part, metadata={_METADATA_KEY: text})
        ordinary_mode(part)
    return path


# -- reading -----------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """Tensors by name, configuration hints, and our own document where the file is ours."""
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _unpickle(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}, not a checkpoint of a TESSERA encoder.")
    hints: dict[str, Any] = {}
    for key in ("args", "arch", "config"):
        if isinstance(content.get(key), Mapping):
            hints = dict(content[key])
            break
    state: Any = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
    return dict(state), hints, None


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    place = regular(path, CheckpointError)
    try:
        with safe_open(place, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is damaged or not a safetensors file ({error}).") from error
    try:
        document = parse_json(metadata[_METADATA_KEY]) if _METADATA_KEY in metadata else None
        hints = parse_json(metadata.get("config", "{}"))
    except ValueError as error:
        raise CheckpointError(f"The description inside {path.name} cannot be read; the file is damaged.") from error
    if document is None:
        return tensors, hints if isinstance(hints, dict) else {}, None
    if document.get("format") != OUR_FORMAT or not isinstance(document.get("config"), dict):
        raise CheckpointError(
            f"{path.name} has the format {document.get('format')!r}; this version reads {OUR_FORMAT!r}. Update Tessera Studio."
        )
    if not is_sound(metadata[_METADATA_KEY], _as_bytes(tensors)):
        raise CheckpointError(f"{path.name} is damaged: its checksum is of other weights. Copy or download it again.")
    return tensors, {}, {"config": document["config"], "card": document.get("card") or {}}


def _as_bytes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """uint8 arrays of tensors of any type; NumPy has no bfloat16."""
    return {
        name: tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        for name, tensor in tensors.items()
    }


def _check_records(path: Path) -> None:
    """Compare the checksums that torch writes with each record; memory-mapped loading does not.

    Raises:
        CheckpointError: some do not fit. Where none does, the writer kept none.
    """
    with zipfile.ZipFile(path) as archive:
        names, wrong = archive.namelist(), 0
        for name in names:
            try:
                with archive.open(name) as record:
                    while record.read(1 << 20):
                        pass
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
                wrong += 1
    if 0 < wrong < len(names):
        raise CheckpointError(
            f"{path.name} is damaged: {wrong} of its {len(names)} records have other checksums. Get it again."
        )


def _unpickle(path: Path) -> Any:
    # Memory-mapping spares gigabytes where a file carries projector or optimiser; only the zip layout allows it.
    path = regular(path, CheckpointError)
    mapped = zipfile.is_zipfile(path)
    try:
        if mapped:
            _check_records(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        # Torch names the class or function the pickle wants to run; anything beyond tensors and plain containers is refused.
        wanted = re.search(r"(?:Unsupported global: )?GLOBAL ([\w.]+)", str(error))
        if wanted:
            raise CheckpointError(
                f"{path.name} was refused: loading it would run {wanted.group(1)}, and only plain weights are loaded. "
                "Ask its author for a weights-only or safetensors file."
            ) from error
        raise CheckpointError(_not_a_checkpoint(path)) from error
    except (RuntimeError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(_not_a_checkpoint(path)) from error


def _not_a_checkpoint(path: Path) -> str:
    return f"{path.name} is not a PyTorch checkpoint, or it is cut short ({path.stat().st_size:,} bytes); get it again."


def _encoder_tensors(tensors: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The encoder's tensors under their plain names."""
    state: dict[str, Tensor] = {}
    for key, value in tensors.items():
        plain = re.sub(r"^(?:module\.|_orig_mod\.)+", "", str(key))
        # v1.0 QAT files carry the compile prefix inside the name, too.
        plain = plain.replace("._orig_mod.", ".")
        if isinstance(value, Tensor) and not plain.startswith(_TRAINING_ONLY):
            state[plain] = value
    if not any(key.startswith(("s2_backbone.", "s1_backbone.")) for key in state):
        raise CheckpointError(
            f"{path.name} is a checkpoint of another model: it has no s2_backbone and s1_backbone, as TESSERA encoders do."
        )
    return state


# -- recognising -------------------------------------------------------------------------------------------------------------


def detect_family(keys: Mapping[str, Any]) -> Family:
    """Which family tensors belong to, from their names alone (spec 1.8)."""
    if any(key.endswith("temporal_context.weight_ih_l0") for key in keys):
        return "v1.0-fp32"
    if any(key.endswith("gru_cell.W_ir.weight") for key in keys):
        return "v1.1" if "dim_reducer.4.weight" in keys else "v1.0-qat"
    return "v2-teacher" if "fusion_modality_embed" in keys else "v2-student"


def _infer_config(state: Mapping[str, Tensor], hints: Mapping[str, Any], path: Path) -> tuple[EncoderConfig, list[str]]:
    family = detect_family(state)
    notes: list[str] = []
    width = _dim(state, "s2_backbone.embedding.0.weight", 0, path)
    if width % 4:
        raise CheckpointError(f"{path.name} has a model width of {width}, which no TESSERA encoder has.")
    latent = width // 4
    last = "dim_reducer.0.weight" if family.startswith("v1.0") else "dim_reducer.4.weight"
    out = _dim(state, last, 0, path)
    if str(hints.get("fusion_method", "concat")) != "concat":
        raise CheckpointError(
            f"{path.name} fuses by {hints['fusion_method']!r}; only 'concat' has ever been published."
        )

    def stack(prefix: str, kind: str) -> StackConfig:
        layers, ff, heads = _stack_of(state, f"{prefix}.transformer_encoder.", width, path)
        hint = hints.get(f"{kind}_num_heads", hints.get("nhead"))
        if heads is None and hint is None and family.startswith("v1.0"):
            # Only the published eight-layer model has eight heads; the number leaves no trace in the shapes.
            heads = 8 if family == "v1.0-fp32" and layers == 8 else 4
        elif heads is None:
            heads = 4 if hint is None else int(hint)
        elif hint is not None and int(hint) != heads:
            raise CheckpointError(_disagree(path, "nhead", hint, heads))
        _agree(path, hints, (f"{kind}_num_layers", "num_layers"), layers)
        _agree(path, hints, (f"{kind}_dim_feedforward", "dim_feedforward"), ff)
        return StackConfig(layers, heads, ff)

    _agree(path, hints, ("latent_dim",), latent)
    _agree(path, hints, ("repr_dim", "representation_dim"), out)
    s2, s1 = stack("s2_backbone", "s2"), stack("s1_backbone", "s1")
    if family in ("v1.0-fp32", "v1.0-qat"):
        make = v1_0_fp32 if family == "v1.0-fp32" else v1_0_qat
        if "nhead" not in hints:
            notes.append(f"The file does not tell its number of attention heads; {s2.heads} was used, as for {family}.")
        return replace(make(latent, s2.layers, s2.heads, s2.feedforward, out), s1=s1), notes
    if family == "v1.1":
        kept = int(hints.get("save_embedding_dim", min(128, out)))
        bins = tuple(hints.get("num_obs_checkpoints", DEFAULT_BINS))
        notes.append(_ASSUMED_MPC)
        return replace(v1_1(latent, out, kept, s2, s1), sampling=Sampling("v1.1", bins)), notes
    if family == "v2-teacher":
        final = bool(hints.get("final_layernorm", True))
        teacher = v2_teacher(latent, s2.layers, s2.heads, s2.feedforward, out, final)
        return replace(teacher, s1=s1), notes
    qk_norm = any(key.endswith("q_norm.weight") for key in state)
    _agree(path, hints, ("enable_qk_norm",), qk_norm)
    prefixes = tuple(
        p
        for p in (int(part) for part in str(hints.get("matryoshka_dims", "16,32,64,128")).split(",") if part.strip())
        if p <= out
    )
    student = v2_student(latent, s2.layers, s2.heads, s2.feedforward, out, prefixes, qk_norm)
    return replace(student, s1=s1), notes


def _stack_of(state: Mapping[str, Tensor], prefix: str, width: int, path: Path) -> tuple[int, int, int | None]:
    """Layers, feed-forward width and, where shapes tell, heads of a transformer stack."""
    pattern = re.compile(re.escape(prefix) + r"(?:layers\.)?(\d+)\.linear1\.weight$")
    found = {int(match.group(1)): key for key in state if (match := pattern.match(key))}
    if not found or sorted(found) != list(range(len(found))):
        raise CheckpointError(
            f"{path.name} is incomplete: the layers of {prefix[:-1]} are {sorted(found) or 'missing'}."
        )
    q_norm = next((state[key] for key in state if key.startswith(prefix) and key.endswith("q_norm.weight")), None)
    heads = None if q_norm is None else width // max(1, q_norm.shape[0])
    return len(found), _dim(state, found[0], 0, path), heads


def _dim(state: Mapping[str, Tensor], key: str, axis: int, path: Path) -> int:
    if key not in state or state[key].ndim <= axis:
        raise CheckpointError(f"{path.name} is incomplete: the tensor {key} is missing.")
    return int(state[key].shape[axis])


def _agree(path: Path, hints: Mapping[str, Any], names: tuple[str, ...], found: int | bool) -> None:
    for name in names:
        if name in hints:
            if type(found)(hints[name]) != found:
                raise CheckpointError(_disagree(path, name, hints[name], found))
            return


def _disagree(path: Path, name: str, stated: Any, found: Any) -> str:
    return f"{path.name} contradicts itself: its configuration says {name} = {stated}, its weights have {found}."


def _identify(loaded: LoadedEncoder, asked: zoo.PublishedFile | None) -> LoadedEncoder:
    """Give the weights the name of the released file they are, or one that no other weights have."""
    config = loaded.config
    found, certain = (asked, True) if asked else zoo.published(loaded.path, loaded.sha256)
    if found is not None and _same_architecture(config, PRESETS[found.name]):
        notes = tuple(note for note in loaded.notes if "attention heads" not in note)
        if not certain:
            notes = (*notes, f"Taken for {found.name} by its file name; its sha256 is not on record.")
        loaded = replace(loaded, name=found.name, version=found.version, variant=found.variant, notes=notes)
        source = found.variant if found.version == "1.1" else None
    else:
        version, variant = _VERSIONS[config.family], f"custom-{loaded.sha256[:8]}"
        loaded = replace(loaded, version=version, variant=variant)
        named = re.search(r"(?<![a-z])(mpc|aws)(?![a-z])", loaded.path.stem.lower())
        source = named.group(1) if named and config.family == "v1.1" else None
    if source is None:
        return loaded
    config = config.with_normalisation(NORMALISATIONS[f"v1.1-{source}"])
    notes = tuple(note for note in loaded.notes if note != _ASSUMED_MPC)
    return replace(loaded, config=config, data_source=source, notes=notes)


def _same_architecture(config: EncoderConfig, preset: EncoderConfig) -> bool:
    ours, theirs = config.to_json(), preset.to_json()
    return all(ours[key] == theirs[key] for key in theirs if key not in ("normalisation", "sampling", "prefixes"))


def _build(config: EncoderConfig, state: Mapping[str, Tensor], path: Path) -> Encoder:
    """The encoder with exactly these tensors; nothing may be missing, left over or of another shape."""
    with torch.device("meta"):  # names and shapes without initialising two billion numbers in vain
        encoder = Encoder(config)
    wanted = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    problems = [f"{key} is missing" for key in wanted if key not in state]
    problems += [f"{key} is unexpected" for key in state if key not in wanted]
    problems += [
        f"{key} has the shape {tuple(state[key].shape)} instead of {shape}"
        for key, shape in wanted.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{path.name} does not fit a {config.family} encoder: {'; '.join(problems[:3])}{more}.")
    # Copied, so that the encoder outlives the mapped file.
    tensors = {key: state[key].to(torch.float32, copy=True).contiguous() for key in wanted}
    _require_finite(tensors, path)
    encoder.load_state_dict(tensors, strict=True, assign=True)
    return encoder


def _require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    for key, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path.name} holds numbers that are not finite in {key}; the weights are damaged.")
