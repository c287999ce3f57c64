"""The training loop: views, forward pass, objective, optimiser, checkpoints; resumable to the bit.

Everything random in a step is drawn from its number and the seed, so a resumed run needs only weights, optimiser state and the
step. Owns the run's folder: ``training.pt`` (whole state), ``log.jsonl``, ``curves.html``, ``encoder.safetensors`` (best by the
held-out probe) and ``encoder-last.safetensors``. Under ``torchrun`` the processes share each batch and its correlations
(:mod:`tessera_core.pretrain.ranks`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tessera_core._utils.atomic import atomic_path
from tessera_core.errors import Cancelled, ExportError
from tessera_core.models.checkpoint import save_checkpoint
from tessera_core.models.encoder import Encoder
from tessera_core.models.normalisation import NORMALISATIONS
from tessera_core.pretrain import distil, prepare
from tessera_core.pretrain.barlow import Mixture, effective_rank, objective
from tessera_core.pretrain.config import PretrainConfig, PretrainError, completed, differences
from tessera_core.pretrain.curves import LOG_FILE, sparkline, write_page
from tessera_core.pretrain.monitor import probe
from tessera_core.pretrain.pixels import PixelSet
from tessera_core.pretrain.products import QuickProducts
from tessera_core.pretrain.projector import Projector
from tessera_core.pretrain.ranks import Ranks
from tessera_core.pretrain.schedule import learning_rate
from tessera_core.pretrain.views import Disturbance, draw_view
from tessera_core.types import Cancel, Progress

STATE_FILE = "training.pt"
BEST_FILE = "encoder.safetensors"
LAST_FILE = "encoder-last.safetensors"
RANK_EVERY = 50  # steps between two effective ranks in the log


@dataclass
class StepInputs:
    """What one step's encoder call gets: both views and, below them, the mixtures; ``order`` and ``alpha`` made these."""

    s2: Tensor
    s1: Tensor
    order: Tensor | None
    alpha: float


class Trainer:
    """One run in one folder.

    Args:
        config: the run's settings.
        out: the run's folder.
        base: folder that tile paths in the configuration start from.
        resume: go on from ``training.pt``.
        progress, cancelled: as everywhere.

    Raises:
        PretrainError: the folder already holds a run (without ``resume``), or one with other settings; or the processes of
            ``torchrun`` cannot share the batch.
    """

    def __init__(
        self,
        config: PretrainConfig,
        out: str | Path,
        *,
        base: str | Path = ".",
        resume: bool = False,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> None:
        self.config, self.out = config, Path(out)
        self.progress, self.cancelled = progress, cancelled
        self.device = _device(config.run.device)
        self.ranks = Ranks.join(self.device)
        if config.run.batch % self.ranks.world:
            raise PretrainError(
                f"run.batch = {config.run.batch} pixels cannot be shared evenly by {self.ranks.world} processes; choose a "
                f"multiple of {self.ranks.world}."
            )
        state = self._read_state(resume)
        torch.set_num_threads(config.run.threads)
        if not self.ranks.first:
            # The first rank prepares the pixels; the others find them ready.
            self.ranks.wait()
        shards = prepare.prepare_shards(
            config.data, self.out / "shards", config.seed, base, progress=progress, cancelled=cancelled
        )
        if self.ranks.first:
            self.ranks.wait()
        self.reader = prepare.ShardReader(shards, config.run.batch, config.seed, config.data.shuffle)
        probes = config.run.probe_every and self.ranks.first
        self.holdout = prepare.holdout_pixels(config.data, config.seed) if probes else []
        encoder_config = config.encoder_config()
        if config.model.normalisation == "data":
            encoder_config = encoder_config.with_normalisation(prepare.statistics_of(shards, config.name))
        else:
            encoder_config = encoder_config.with_normalisation(NORMALISATIONS[config.model.normalisation])
        self.normalisation = encoder_config.normalisation
        prefixes = config.objective.prefixes
        self.encoder_config = replace(encoder_config, prefixes=(*prefixes, encoder_config.output_dim))
        torch.manual_seed(config.seed)
        self.encoder = Encoder(self.encoder_config).to(self.device)
        widths = config.objective.projector
        full = encoder_config.representation_dim
        # A prefix's projector is narrower in proportion, but wide enough to decorrelate in.
        projectors = [Projector(full, widths)] + [
            Projector(p, [max(4 * p, w * p // full) for w in widths]) for p in prefixes
        ]
        self.projectors = nn.ModuleList(projectors if config.contrasts else []).to(self.device)
        self.teacher, heads = distil.make(config.distillation, full, prefixes, self.device)
        self.heads = None if heads is None else heads.to(self.device)
        self.modules = nn.ModuleList([self.encoder, self.projectors] + ([self.heads] if self.heads is not None else []))
        self.optimiser = self._optimiser()
        v = config.views
        self.disturbance = Disturbance(
            v.drop_s1,
            v.drop_s2,
            v.drop_orbit,
            v.window,
            (v.window_days[0], v.window_days[1]),
            v.gain,
            v.haze,
            v.radar_db,
        )
        self.step = 0
        self.best = -1.0
        self.seconds = 0.0
        self._recent: list[float] = []
        self._last_rank = -1.0
        self._projection = torch.empty(0)
        if state is not None:
            self._restore(state)

    # -- one step ------------------------------------------------------------------------------------------------------------

    def inputs(self, pixels: PixelSet, step: int) -> StepInputs:
        """This rank's part of both views of ``pixels`` and of their mixtures, stacked in this order.

        Whatever the number of ranks, together they see the views and mixtures that a single one would.
        """
        views, objective_ = self.config.views, self.config.objective
        rng = np.random.default_rng((self.config.seed, 30, step))
        k2 = int(rng.integers(views.s2[0], views.s2[1] + 1))
        k1 = int(rng.integers(views.s1[0], views.s1[1] + 1))
        own = self.ranks.rows(len(pixels))
        mixes = objective_.mixup > 0 and self.config.contrasts
        rows = max(2, round(objective_.mixup_rows * len(pixels))) if mixes else 0
        chance = np.random.default_rng((self.config.seed, 31, step))
        order, alpha = chance.permutation(rows), float(chance.beta(1, 1))
        mixed = len(self.ranks.rows(rows))
        partners = order[self.ranks.rows(rows)]
        needed = np.union1d(own, partners).astype(np.intp)
        first = draw_view(pixels, k2, k1, self.normalisation, rng, self.disturbance, own)
        second = draw_view(pixels, k2, k1, self.normalisation, rng, self.disturbance, needed)
        at_own, at_partners = (torch.from_numpy(np.searchsorted(needed, wanted)) for wanted in (own, partners))

        def stacked(one: NDArray[np.float32], other: NDArray[np.float32]) -> Tensor:
            x, y = torch.from_numpy(one), torch.from_numpy(other)
            parts = [x, y[at_own]]
            if mixed:
                # The day of year is mixed like the bands, as published.
                parts.append(alpha * x[:mixed] + (1 - alpha) * y[at_partners])
            return torch.cat(parts).to(self.device)

        s2, s1 = (stacked(one, other) for one, other in zip(first, second, strict=True))
        return StepInputs(s2, s1, torch.from_numpy(order).to(self.device) if mixes else None, alpha)

    def represent(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Representations, a micro-batch of rows at a time."""
        size = self.config.run.micro_batch
        parts = [self._encode(i, *pair) for i, pair in enumerate(zip(s2.split(size), s1.split(size), strict=True))]
        return torch.cat(parts)

    def _encode(self, index: int, s2: Tensor, s1: Tensor) -> Tensor:
        # Dropout is the only chance left to torch; seeded by step, rank and micro-batch it is the same when the encoder runs
        # again for the gradients, and after resuming.
        torch.manual_seed(prepare.seed_of(self.config.seed, 32, self.step, self.ranks.rank, index))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.run.dtype == "bf16"):
            r = self.encoder(s2, s1)
        r = r.float()
        return fake_quantise(r) if self.config.objective.int8 else r

    def losses(
        self, representation: Tensor, inputs: StepInputs, batch: int, target: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Total loss of a step and its parts, over the full representation and the configured prefixes.

        Args:
            representation: of this rank's rows of both views and of the mixtures.
            inputs: what they were made of.
            batch: pixels of all ranks together.
            target: the teacher's embeddings of this rank's pixels.
        """
        settings, distillation = self.config.objective, self.config.distillation
        own = len(self.ranks.rows(batch))
        total = representation.new_zeros(())
        parts: dict[str, float] = {}
        for index, projector in enumerate(self.projectors):
            r = representation[:, : projector.inputs]
            z1, z2 = (projector(r[part], self.ranks, batch) for part in (slice(own), slice(own, 2 * own)))
            mixture = None
            if inputs.order is not None:
                zm = projector(r[2 * own :], self.ranks, len(inputs.order))
                mixture = Mixture(zm, inputs.order, inputs.alpha, settings.mixup)
            loss, terms, mix = objective(z1, z2, mixture, settings.lambda_, self.ranks, batch)
            total = total + (loss if index == 0 else settings.prefix_weight * loss)
            if index == 0:
                parts = {
                    "on_diagonal": float(terms.on_diagonal.detach()),
                    "off_diagonal": settings.lambda_ * float(terms.off_diagonal.detach()),
                    "mixup": float(mix.detach()),
                }
                # Of the first rank's rows: a rank needs no exact batch.
                self._projection = z1.detach()
        if self.heads is not None and target is not None:
            distance = self.heads.loss(representation[: 2 * own], target, distillation.loss, self.ranks, batch)
            parts["distillation"] = float(distance.detach())
            total = distillation.barlow * total + distillation.weight * distance
        return total, parts

    def gradients(
        self, inputs: StepInputs, batch: int, target: Tensor | None
    ) -> tuple[Tensor, dict[str, float], Tensor]:
        """Add one step's gradients, of all ranks; returns the loss, its parts and this rank's representations.

        With ``run.accumulate`` in three passes (Gao et al. 2021, arXiv 2101.06983): representations without a graph; loss and
        its gradient with respect to them, over the whole batch; the encoder again, a micro-batch at a time, with that gradient.

        Raises:
            PretrainError: the loss is not finite.
        """
        accumulate, size = self.config.run.accumulate, self.config.run.micro_batch
        with torch.set_grad_enabled(not accumulate):
            representation = self.represent(inputs.s2, inputs.s1)
        if accumulate:
            representation.requires_grad_()
        loss, parts = self.losses(representation, inputs, batch, target)
        if not torch.isfinite(loss):
            raise PretrainError(
                f"The loss is not finite at step {self.step}; lower optimiser.learning_rate. The last checkpoint is intact in "
                f"{self.out}."
            )
        # The ranks' losses are added up when differentiated (ranks.py).
        (loss / self.ranks.world).backward()
        if accumulate:
            assert representation.grad is not None
            slices = (x.split(size) for x in (inputs.s2, inputs.s1, representation.grad))
            for index, (s2, s1, gradient) in enumerate(zip(*slices, strict=True)):
                self._encode(index, s2, s1).backward(gradient)
        self.ranks.add_gradients(self.modules.parameters())
        return loss.detach(), parts, representation.detach()

    def update(
        self, inputs: StepInputs, batch: int, target: Tensor | None
    ) -> tuple[Tensor, dict[str, float], Tensor, Tensor]:
        """Change the weights by one step; returns what :meth:`gradients` does and the norm of the gradient before clipping."""
        self.optimiser.zero_grad(set_to_none=True)
        with QuickProducts():
            loss, parts, representation = self.gradients(inputs, batch, target)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.config.optimiser.clip or float("inf"))
        self.optimiser.step()
        return loss, parts, representation, norm

    def train_step(self) -> dict[str, float]:
        """Take one optimiser step; returns what is logged.

        Raises:
            PretrainError: the loss is not finite.
        """
        config, step = self.config, self.step
        rate = learning_rate(
            step, config.run.steps, config.optimiser.learning_rate, config.optimiser.warmup, config.optimiser.plateau
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        pixels = self.reader(step)
        own = self.ranks.rows(len(pixels))
        target = None if self.teacher is None else self.teacher(pixels.take(own))
        loss, parts, representation, norm = self.update(self.inputs(pixels, step), len(pixels), target)
        self.step += 1
        record = {"step": step, "loss": float(loss), **parts, "rate": rate, "gradient": float(norm)}
        if step % RANK_EVERY == 0:
            record["rank"] = self._last_rank = effective_rank(representation[: len(own)])
            if len(self.projectors):
                record["projection_rank"] = effective_rank(self._projection)
        return record

    # -- the run -------------------------------------------------------------------------------------------------------------

    def run(self, stop_after: int | None = None) -> dict[str, Any]:
        """Train to the last step (or ``stop_after`` more), logging, probing and writing checkpoints on the way.

        Returns:
            JSON object: steps, seconds, final losses, best probe, files.

        Raises:
            Cancelled: stopped; the state was written.
            ExportError: a checkpoint cannot be written; the last one is intact.
        """
        run = self.config.run
        self._trim_log()
        last = min(run.steps, self.step + stop_after) if stop_after is not None else run.steps
        record: dict[str, float] = {}
        mark = time.monotonic()
        self.encoder.train()
        while self.step < last:
            if self.ranks.any(bool(self.cancelled and self.cancelled()), self.device):
                self.save()
                raise Cancelled()
            record = self.train_step()
            now = time.monotonic()
            self.seconds += now - mark
            mark = now
            self._recent.append(record["loss"])
            if self.progress:
                self.progress(self.step, run.steps, self._said(record))
            extra: dict[str, Any] = {}
            if run.probe_every and (self.step % run.probe_every == 0 or self.step == run.steps):
                extra = self._probe()
                mark = time.monotonic()
            if extra or "rank" in record or (self.step - 1) % run.log_every == 0 or self.step == last:
                self._log({**record, "seconds": round(self.seconds, 2), **extra})
            if self.step % run.checkpoint_every == 0 or self.step == last:
                self.save()
                if self.ranks.first:
                    write_page(self.out, self.config.name, run.steps)
                mark = time.monotonic()
        return {
            "name": self.config.name,
            "steps": self.step,
            "pixels": self.step * run.batch,
            "seconds": round(self.seconds, 1),
            "loss": record.get("loss"),
            "best_probe": self.best if self.best >= 0 else None,
            "checkpoint": str(self.out / (BEST_FILE if (self.out / BEST_FILE).exists() else LAST_FILE)),
        }

    def _said(self, record: Mapping[str, float]) -> str:
        """The course of the loss and the last figures, for the terminal."""
        if len(self._recent) > 4000:
            del self._recent[1::2]
        last = "".join(
            f", {words} {value:.3f}"
            for words, value in (("rank", self._last_rank), ("best probe", self.best))
            if value >= 0
        )
        return f"loss {record['loss']:.1f} {sparkline(self._recent)}{last}"

    def _probe(self) -> dict[str, Any]:
        if not self.ranks.first:
            return {}
        labels = self.config.run.probe_labels
        result = probe(self.encoder, self.holdout, self.normalisation, labels)
        score = float(np.mean(list(result.macro_f1.values())))
        if score > self.best:
            self.best = score
            self._save_encoder(BEST_FILE, {"probe_macro_f1": {str(n): round(s, 4) for n, s in result.macro_f1.items()}})
        return {"probe": {str(n): s for n, s in result.macro_f1.items()}, "probe_rank": result.rank}

    # -- files ---------------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the whole state and the current encoder; a failure leaves the last ones intact.

        Raises:
            ExportError: the disk is full or the folder not writable.
        """
        if not self.ranks.first:
            return
        state = {
            "config": json.dumps(self.config.to_json(), sort_keys=True),
            "step": self.step,
            "best": self.best,
            "seconds": self.seconds,
            "encoder": self.encoder.state_dict(),
            "projectors": self.projectors.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        } | ({} if self.heads is None else {"heads": self.heads.state_dict()})
        target = self.out / STATE_FILE
        with atomic_path(target) as part, open(part, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        self._save_encoder(LAST_FILE, {})

    def _save_encoder(self, name: str, extra: Mapping[str, Any]) -> None:
        card = {
            "name": self.config.name,
            "model": "studio",
            "version": self.config.name.removeprefix("studio-"),
            "training": {
                "objective": self._objective_name(),
                "steps": self.step,
                "pixels": self.step * self.config.run.batch,
                "seconds": round(self.seconds),
                "simulated_pixels": self.config.data.simulated,
                "tiles": len(self.config.data.tiles),
                **extra,
            },
        }
        save_checkpoint(self.out / name, self.encoder, self.encoder_config, card)

    def _objective_name(self) -> str:
        barlow = "Barlow Twins with mix-up" if self.config.objective.mixup else "Barlow Twins"
        if self.teacher is None:
            return barlow
        return f"distillation of {self.teacher.name}" + (f" and {barlow}" if self.config.contrasts else "")

    def _log(self, record: Mapping[str, Any]) -> None:
        if not self.ranks.first:
            return
        path = self.out / LOG_FILE
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record, allow_nan=False) + "\n")
        except OSError as error:
            raise ExportError(
                f"{path} cannot be written: {error.strerror or error}. The last checkpoint is intact; go on with --resume."
            ) from error

    def _trim_log(self) -> None:
        """Drop log lines of steps that a resumed run takes again, and a line cut short by a kill."""
        path = self.out / LOG_FILE
        if not self.ranks.first or not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] < self.step:
                    kept.append(line)
            except ValueError:
                continue
        with atomic_path(path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def _read_state(self, resume: bool) -> dict[str, Any] | None:
        path = self.out / STATE_FILE
        if not path.exists():
            # Before its first state a run has its shards; what else lies there is of another.
            theirs = [name for name in (BEST_FILE, LAST_FILE, LOG_FILE) if (self.out / name).exists()]
            if theirs and not (self.out / "shards" / "shards.json").exists():
                raise PretrainError(f"{self.out} holds {theirs[0]} of something else; choose another folder.")
            return None
        if not resume:
            raise PretrainError(
                f"{self.out} already holds a training run; add --resume to go on, or choose another folder."
            )
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved = json.loads(state["config"])
        except Exception as error:  # torch raises many kinds for a damaged file
            raise PretrainError(f"{path} is damaged and cannot be resumed from ({type(error).__name__}).") from error
        changed = differences(completed(saved), self.config.to_json())
        if changed:
            raise PretrainError(
                f"The run in {self.out} was made with other settings ({', '.join(changed)}); resume it with its own "
                "configuration or choose another folder."
            )
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.encoder.load_state_dict(state["encoder"])
        self.projectors.load_state_dict(state["projectors"])
        if self.heads is not None:
            self.heads.load_state_dict(state["heads"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.best, self.seconds = int(state["step"]), float(state["best"]), float(state["seconds"])

    def _optimiser(self) -> torch.optim.Optimizer:
        settings = self.config.optimiser
        parameters = list(self.modules.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "factor": settings.matrix_rate},
            {"params": [p for p in parameters if p.ndim <= 1], "factor": settings.vector_rate},
        ]
        return torch.optim.AdamW(groups, lr=0.0, weight_decay=settings.weight_decay)


def _device(name: str) -> torch.device:
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise PretrainError("run.device = 'cuda', but torch finds no GPU here; choose 'cpu' or 'auto'.")
    if name == "cpu" or not found:
        return torch.device("cpu")
    # torchrun starts one process per GPU and numbers them.
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def fake_quantise(r: Tensor) -> Tensor:
    """Round ``r`` (B, D) to int8 with one symmetric scale per vector; the gradient passes straight through.

    Published training used one scale per tensor; one per vector is what inference does (docs/spec/model.md section 3).
    """
    with torch.no_grad():
        scale = r.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
        rounded = torch.clamp(torch.round(r / scale), -127, 127) * scale
    return r + (rounded - r).detach()


def pretrain(
    config: PretrainConfig,
    out: str | Path,
    *,
    base: str | Path = ".",
    resume: bool = False,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> dict[str, Any]:
    """Prepare the data and train; what ``tessera pretrain`` calls. See :class:`Trainer`."""
    return Trainer(config, out, base=base, resume=resume, progress=progress, cancelled=cancelled).run()
