"""Distillation: a student's prefixes learn to foretell a frozen teacher's embedding through one linear head each.

Source of the scheme: docs/spec/model.md section 5 (v2 students). The heads are thrown away with the projectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.pretrain.config import DistillationSettings, PretrainError
from tessera_core.pretrain.monitor import embed
from tessera_core.pretrain.pixels import PixelSet
from tessera_core.pretrain.ranks import ALONE, Ranks


class Teacher:
    """A frozen encoder that embeds pixels from all their observations, with its own normalisation.

    Raises:
        PretrainError: it pools with a recurrent network, which packed pixels do not suit.
        CheckpointError, DownloadError: it cannot be loaded.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        loaded = load_checkpoint(name, device)
        if loaded.config.order_matters:
            raise PretrainError(
                f"The teacher {name} pools with a recurrent network, which training does not support; choose a v2 model."
            )
        self.encoder, self.normalisation = loaded.encoder, loaded.config.normalisation
        self.name, self.dim, self.device = loaded.name, loaded.config.output_dim, device
        self.encoder.requires_grad_(False)

    def __call__(self, pixels: PixelSet) -> Tensor:
        """Embeddings float32 (N, dim)."""
        return torch.from_numpy(embed(self.encoder, pixels, self.normalisation)[:, : self.dim].copy()).to(self.device)


class Heads(nn.ModuleList):
    """One linear head for the full representation and one for each prefix."""

    def __init__(self, full: int, prefixes: Sequence[int], dim: int) -> None:
        super().__init__([nn.Linear(width, dim) for width in (full, *prefixes)])

    def loss(
        self, representation: Tensor, target: Tensor, kind: str, ranks: Ranks = ALONE, count: int | None = None
    ) -> Tensor:
        """Mean distance of the heads' predictions to ``target``.

        Args:
            representation: (k N, full) of k views of the same N pixels, one view after the other.
            target: (N, dim).
            kind: see :class:`~tessera_core.pretrain.config.DistillationSettings`.
            ranks, count: processes that share the batch, and how many pixels they hold together.
        """
        views = len(representation) // len(target)
        wanted = target.repeat(views, 1)
        total = representation.new_zeros(())
        for module in self:
            assert isinstance(module, nn.Linear)
            found = module(representation[:, : module.in_features])
            if "cosine" in kind:
                total = total + (1 - F.cosine_similarity(found, wanted, dim=-1)).sum()
            if "mse" in kind:
                total = total + (found - wanted).square().mean(-1).sum()
        return ranks.total(total) / ((count if count is not None else len(target)) * views * len(self))


def make(
    settings: DistillationSettings, full: int, prefixes: Sequence[int], device: torch.device
) -> tuple[Teacher | None, Heads | None]:
    """Teacher and heads of a run, or nothing where it has none."""
    if not settings.teacher:
        return None, None
    teacher = Teacher(settings.teacher, device)
    return teacher, Heads(full, prefixes, teacher.dim)
