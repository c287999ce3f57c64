"""The processes that train one model together (``torchrun``): their sums, in which gradients flow across ranks.

Every rank holds the rows ``rank, rank + world, ...`` of a batch and computes the same loss from sums over all ranks. The sum of
the ranks' losses is what is differentiated, so each rank divides its own by their number. Alone, every operation is the
identity and nothing is imported. Knows tensors and processes, nothing of models.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_core.pretrain.config import PretrainError

# The others wait while the first rank prepares data or probes.
_PATIENCE = timedelta(hours=12)
_BUCKET = 4_194_304  # values per reduction of gradients


class _Total(torch.autograd.Function):
    """Sum over ranks; its gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = x.clone()
        torch.distributed.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        torch.distributed.all_reduce(gradient)
        return gradient


class _Gather(torch.autograd.Function):
    """Rows of all ranks in the batch's order; the gradient of a row is the sum of what all ranks made of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, rank: int, world: int) -> Tensor:
        ctx.rank, ctx.world = rank, world
        most = -(-count // world)
        padded = x.new_zeros(most, *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in range(world)]
        torch.distributed.all_gather(parts, padded)
        return torch.stack(parts, 1).flatten(0, 1)[:count]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        gradient = gradient.contiguous().clone()
        torch.distributed.all_reduce(gradient)
        return gradient[ctx.rank :: ctx.world], None, None, None


@dataclass(frozen=True)
class Ranks:
    """This process among ``world``; the first one, rank 0, writes the files."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Ranks:
        """Join the processes that ``torchrun`` started (its environment says so); otherwise be alone.

        Raises:
            PretrainError: the others cannot be reached.
        """
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world <= 1:
            return cls()
        from torch import distributed

        if not distributed.is_initialized():
            try:
                distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
            except (RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0][:200]
                raise PretrainError(f"The {world} training processes cannot reach each other: {reason}") from error
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def rows(self, count: int) -> NDArray[np.intp]:
        """Which of a batch's first ``count`` rows are this rank's; those of a smaller count come first."""
        return np.arange(self.rank, count, self.world)

    def total(self, x: Tensor) -> Tensor:
        """Sum of ``x`` over the ranks, differentiable."""
        return x if self.world == 1 else _Total.apply(x)

    def gather(self, x: Tensor, count: int) -> Tensor:
        """All ``count`` rows, in the batch's order, of which ``x`` holds this rank's; differentiable."""
        return x if self.world == 1 else _Gather.apply(x, count, self.rank, self.world)

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum every gradient over the ranks, some megabytes at a time."""
        if self.world == 1:
            return
        bucket: list[Tensor] = []
        size = 0
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            size += parameter.numel()
            if size >= _BUCKET:
                _reduce(bucket)
                bucket, size = [], 0
        if bucket:
            _reduce(bucket)

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Give every rank the first one's values, in place."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any rank says so, for all of them."""
        if self.world == 1:
            return flag
        said = torch.tensor(float(flag), device=device)
        torch.distributed.all_reduce(said)
        return bool(said)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.world > 1:
            torch.distributed.barrier()

    def leave(self) -> None:
        """End of the work together."""
        if self.world > 1:
            torch.distributed.destroy_process_group()


def _reduce(gradients: list[Tensor]) -> None:
    flat = torch.cat([g.reshape(-1) for g in gradients])
    torch.distributed.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


ALONE = Ranks()
