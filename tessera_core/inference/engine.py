"""The inference engine: pixels' time series to embeddings, as fast as this machine can and without padding.

A row block is read, each sensor's pixels are grouped by structure and cut into token-budget batches, the batches run on all
cores (one thread per batch: no idle cores between small operations) or on the GPU, and the pooled vectors meet in the fusion.
Constant work - day-of-year encodings, the vector of a sensor that saw nothing - is done once per model. Owns no files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import Cancelled, InputError
from tessera_core.inference import kernels, packing
from tessera_core.inference.backbone import FastBackbone
from tessera_core.models.checkpoint import LoadedEncoder
from tessera_core.models.config import EncoderConfig, StackConfig
from tessera_core.models.inputs import PixelSeries, runnable
from tessera_core.models.normalisation import S1_CHANNELS, S2_CHANNELS
from tessera_core.raster import NoData
from tessera_core.types import Cancel, Progress

# Activations of a batch should stay in the cache of a core; see docs/performance.md for the measurements behind it.
CPU_TOKENS = 4096
CPU_ACTIVATION_BYTES = 24 << 20
BLOCK_FLOPS = 8e12
MAX_BLOCK_PIXELS = 16384


class Embedded(NamedTuple):
    """Embeddings of a row block.

    Attributes:
        values: float32 (h, W, D); pixels without data hold what the reference writes there (zeros, or v1.1's constant).
        reasons: uint8 (h, W) of :class:`~tessera_core.raster.NoData`.
    """

    values: NDArray[np.float32]
    reasons: NDArray[np.uint8]


@dataclass
class Tokens:
    """How many tokens were computed, and how many the reference would have computed with its padding."""

    computed: int = 0
    padded: int = 0


def choose_device(device: str) -> torch.device:
    """``"auto"`` is the GPU where there is one.

    Raises:
        InputError: a device that is not here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        raise InputError(f"The device {device!r} is not known; it is auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no usable NVIDIA GPU here; use --device cpu or auto.")
    return torch.device(device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """``"auto"`` is bfloat16 where the hardware multiplies it faster than float32.

    Raises:
        InputError: an unknown dtype.
    """
    if dtype == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
        return torch.bfloat16 if kernels.fast_bfloat16() else torch.float32
    if dtype not in ("fp32", "bf16"):
        raise InputError(f"The dtype {dtype!r} is not known; it is auto, fp32 or bf16.")
    return torch.float32 if dtype == "fp32" else torch.bfloat16


def flops_per_token(config: EncoderConfig, stack: StackConfig, channels: int, tokens: float) -> float:
    """Floating-point operations of a backbone per token, multiply-add = 2 (docs/spec/performance.md section 5)."""
    d = config.width
    layers = stack.layers * (2 * (4 * d * d + 2 * d * stack.feedforward) + 4 * tokens * d)
    recurrent = 12 * d * d if config.order_matters else 0
    return 2 * (channels * d + d * d) + layers + recurrent


class Engine:
    """An encoder prepared to embed many pixels.

    Args:
        loaded: weights and configuration.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        dtype: ``"auto"``, ``"fp32"`` (equal to the reference to rounding) or ``"bf16"`` (cosine >= 0.9999 to it).
        threads: batches in flight on the CPU; default all cores this process may use.
        tokens: tokens per batch; default by device and width.

    Raises:
        InputError: the device or dtype is not known or not here.
    """

    def __init__(
        self,
        loaded: LoadedEncoder,
        device: str = "auto",
        dtype: str = "auto",
        *,
        threads: int | None = None,
        tokens: int | None = None,
    ) -> None:
        self.loaded, self.config = loaded, loaded.config
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.threads = 1 if self.device.type == "cuda" else (threads or available_cores())
        self.counted = Tokens()
        with torch.inference_mode():
            encoder = loaded.encoder.to(self.device)
            self.encoder = encoder
            self.s2 = FastBackbone(encoder.s2_backbone, self.config, self.config.s2, self.dtype, self.device)
            self.s1 = FastBackbone(encoder.s1_backbone, self.config, self.config.s1, self.dtype, self.device)
            # A sensor that saw nothing is one row of normalised zeros on day 0 (spec 2.5, 2.6): the same for every pixel.
            self.empty_s2 = encoder.s2_backbone(torch.zeros(1, 1, S2_CHANNELS + 1, device=self.device))[0]
            self.empty_s1 = encoder.s1_backbone(torch.zeros(1, 1, S1_CHANNELS + 1, device=self.device))[0]
        widest = max(self.config.s2.feedforward, self.config.s1.feedforward, 3 * self.config.width)
        size = torch.finfo(self.dtype).bits // 8
        if tokens is None and self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            # Feed-forward hidden, projections, residual and attention, with room for fragmentation.
            tokens = int(max(CPU_TOKENS, free // (8 * widest * size)))
        self.tokens = tokens or max(256, min(CPU_TOKENS, CPU_ACTIVATION_BYTES // (widest * size)))

    def block_rows(self, width: int, tokens_per_pixel: float = 128) -> int:
        """Rows per block: bounded memory, and on slow models a block of at most a minute or so."""
        per_token = flops_per_token(self.config, self.config.s1, S1_CHANNELS, tokens_per_pixel)
        pixels = min(MAX_BLOCK_PIXELS, BLOCK_FLOPS / (per_token * tokens_per_pixel))
        if self.device.type == "cuda":
            pixels = 4 * MAX_BLOCK_PIXELS
        return max(1, int(pixels) // width)

    def embed(
        self,
        tile: DPixelTile,
        rows: slice,
        *,
        seed: int = 0,
        repeats: int = 1,
        outside: bool = False,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> Embedded:
        """Embed the pixels of ``rows`` (a slice with start and stop), all of it in memory.

        Args:
            tile: the tile.
            rows: whole rows.
            seed: of v1.0's random draws; other models draw nothing.
            repeats: v1.0 only: average this many draws.
            outside: compute values outside the region of interest too, where there are observations, as the reference does.
            progress: called with pixels done within these rows.
            cancelled: asked between batches.

        Raises:
            Cancelled: ``cancelled`` returned true.
        """
        height, width = rows.stop - rows.start, tile.shape[1]
        config = self.config
        random = config.sampling.rule == "v1.0"
        with torch.inference_mode():
            series = PixelSeries.of_tile(tile, rows)
            taken = runnable(series, config)
            observed = series.s2_valid.any(0) | series.s1_valid.any(0) | random
            seen = taken & observed
            series = series.for_days(config.days)
            if config.sampling.dummy_sar:
                series = series.with_dummy_passes()
            reasons = np.where(seen, NoData.VALID, NoData.NO_OBSERVATIONS).astype(np.uint8)
            if config.sampling.min_optical:
                reasons[~taken & series.s2_valid.any(0)] = NoData.TOO_FEW
            if tile.roi is not None:
                reasons[~np.asarray(tile.roi[rows]).ravel()] = NoData.OUTSIDE
            wanted = seen if outside else reasons == NoData.VALID
            values = np.zeros((height * width, config.representation_dim), np.float32)
            if config.sampling.rule == "v1.1" and not config.sampling.min_optical:
                values[:] = self._fuse(self.empty_s2[None], self.empty_s1[None])
            passes = repeats if random else 1
            total = np.zeros((int(wanted.sum()), config.representation_dim), np.float32)
            for repeat in range(passes):
                draws: tuple[NDArray[np.int64] | None, NDArray[np.int64] | None] = (None, None)
                if random:
                    seeds = [(seed, repeat, row) for row in range(rows.start, rows.stop)]
                    draws = packing.draw(series, config.sampling, wanted, seeds, width)
                rule = (wanted, config.sampling, config.normalisation)
                packs = packing.Packing(series, "s2", *rule, draws[0]), packing.Packing(series, "s1", *rule, draws[1])
                total += self._run(packs, wanted, progress, cancelled)
            values[wanted] = total / np.float32(passes)
        shape = (height, width)
        return Embedded(values.reshape(*shape, -1), reasons.reshape(shape))

    def _run(
        self,
        packs: tuple[packing.Packing, packing.Packing],
        wanted: NDArray[np.bool_],
        progress: Progress | None,
        cancelled: Cancel | None,
    ) -> NDArray[np.float32]:
        """Representations (N, R) of the wanted pixels."""
        index = np.flatnonzero(wanted)
        position = np.zeros(len(wanted), np.int64)
        position[index] = np.arange(len(index))
        pooled = []
        tasks: list[Callable[[], int]] = []
        for pack, backbone, empty in ((packs[0], self.s2, self.empty_s2), (packs[1], self.s1, self.empty_s1)):
            out = empty.expand(len(index), -1).clone()
            pooled.append(out)
            tasks += [
                self._task(pack, backbone, cut, out, torch.from_numpy(position[pack.pixels[cut]]))
                for cut in pack.cuts(self.tokens)
            ]
            self.counted.computed += pack.tokens
            self.counted.padded += pack.padded_tokens
        # Longest sequences first, so that no core waits long at the end.
        weight = max(1, packs[0].tokens + packs[1].tokens)

        def report(done: int) -> None:
            if progress:
                progress(round(len(index) * done / weight), len(index), "")

        self.run_tasks(tasks[::-1], report, cancelled)
        step = 4096
        parts = [self._fuse(pooled[0][i : i + step], pooled[1][i : i + step]) for i in range(0, len(index), step)]
        return np.concatenate(parts) if parts else np.zeros((0, self.config.representation_dim), np.float32)

    def _task(
        self, pack: packing.Packing, backbone: FastBackbone, cut: slice, out: torch.Tensor, where: torch.Tensor
    ) -> Callable[[], int]:
        def task() -> int:
            if self.device.type == "cuda":
                self._halving(pack, backbone, cut, out, where)
            else:
                out[where] = backbone(pack.batch(cut, self.device))
            return int(pack.lengths[cut].sum())

        return task

    def _halving(
        self, pack: packing.Packing, backbone: FastBackbone, cut: slice, out: torch.Tensor, where: torch.Tensor
    ) -> None:
        """Run a batch, in halves where the GPU's memory does not suffice."""
        try:
            out[where.to(self.device)] = backbone(pack.batch(cut, self.device))
        except torch.cuda.OutOfMemoryError:
            if cut.stop - cut.start == 1:
                raise
        else:
            return
        torch.cuda.empty_cache()
        self.tokens = max(CPU_TOKENS, self.tokens // 2)
        middle = (cut.start + cut.stop) // 2
        for part in (slice(cut.start, middle), slice(middle, cut.stop)):
            self._halving(pack, backbone, part, out, where[part.start - cut.start : part.stop - cut.start])

    def _fuse(self, s2: torch.Tensor, s1: torch.Tensor) -> NDArray[np.float32]:
        return self.encoder.fuse(s2.float(), s1.float()).float().cpu().numpy()

    def run_tasks(
        self,
        tasks: list[Callable[[], int]],
        report: Callable[[int], None] = lambda done: None,
        cancelled: Cancel | None = None,
    ) -> None:
        """Run tasks that return their weight, on ``threads`` threads of one core each; ``report`` gets the weight done.

        Raises:
            Cancelled: ``cancelled`` returned true between two tasks.
        """
        done = 0
        if self.threads == 1 or len(tasks) < 2:
            with torch.inference_mode():
                for task in tasks:
                    if cancelled and cancelled():
                        raise Cancelled
                    done += task()
                    report(done)
            return
        queue = iter(tasks)
        lock, stop = threading.Lock(), threading.Event()

        def work() -> None:
            nonlocal done
            torch.set_num_threads(1)
            with torch.inference_mode():
                while not stop.is_set():
                    with lock:
                        task = next(queue, None)
                    if task is None:
                        return
                    weight = task()
                    with lock:
                        done += weight

        with _one_thread_each(), ThreadPoolExecutor(self.threads, thread_name_prefix="embed") as pool:
            futures = [pool.submit(work) for _ in range(self.threads)]
            try:
                while True:
                    finished, waiting = wait(futures, timeout=0.2, return_when=FIRST_EXCEPTION)
                    for future in finished:
                        future.result()
                    report(done)
                    if not waiting:
                        return
                    if cancelled and cancelled():
                        raise Cancelled
            finally:
                stop.set()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Torch's own threading off while batches run side by side; restored after."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def embed_tile(
    tile: DPixelTile,
    engine: Engine,
    *,
    dim: int | None = None,
    rows: slice | None = None,
    seed: int = 0,
    repeats: int = 1,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> NDArray[np.float32]:
    """Embeddings of a tile, or of some of its rows, in memory: float32 (h, W, D), NaN where there is no data.

    Args:
        tile: the tile; read a block of rows at a time.
        engine: of the weights, on a device.
        dim: leading values to keep; default the model's embedding.
        rows: slice of rows; default all.
        seed, repeats: of v1.0's random draws.
        progress: pixels done, pixels in all.
        cancelled: asked between batches.

    Raises:
        InputError: the dimension is not possible.
        TileError: the tile has not one valid observation.
        Cancelled: ``cancelled`` returned true.
    """
    tile.require_observations()
    dim = check_dim(engine.loaded.config, dim)
    start, stop, _ = (rows or slice(None)).indices(tile.shape[0])
    out = np.empty((stop - start, tile.shape[1], dim), np.float32)
    pixels = out.shape[0] * out.shape[1]
    for block in row_blocks(start, stop, engine.block_rows(tile.shape[1])):
        before = (block.start - start) * tile.shape[1]

        def shifted(done: int, _: int, message: str, before: int = before) -> None:
            if progress:
                progress(before + done, pixels, message)

        found = engine.embed(tile, block, seed=seed, repeats=repeats, progress=shifted, cancelled=cancelled)
        found.values[found.reasons != NoData.VALID] = np.nan
        out[block.start - start : block.stop - start] = found.values[..., :dim]
    if progress:
        progress(pixels, pixels, "")
    return out


def row_blocks(start: int, stop: int, step: int) -> Iterator[slice]:
    """Consecutive slices of at most ``step`` rows."""
    for row in range(start, stop, step):
        yield slice(row, min(row + step, stop))


def check_dim(config: EncoderConfig, dim: int | None) -> int:
    """The number of leading values to keep.

    Raises:
        InputError: the model offers no embedding of that length.
    """
    if dim is None or dim == config.output_dim:
        return config.output_dim
    if dim in config.prefixes:
        return dim
    offered = ", ".join(str(p) for p in sorted({*config.prefixes, config.output_dim}))
    raise InputError(f"This model has no embeddings of {dim} values; it has {offered}.")
