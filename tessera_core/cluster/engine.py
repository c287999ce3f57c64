"""Where work goes: workers of this machine, a scheduler that runs already, or jobs of a batch system; see :func:`connect`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core._utils.spread import RETRIES
from tessera_core.cluster.executor import DaskExecutor
from tessera_core.cluster.profile import SYSTEMS, Profile
from tessera_core.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
# Workers that a scheduler is taken to have while none has come; each gets several shares, so that a wrong guess costs little.
GUESS = 8
CONNECT_S = 20.0
_CALM = re.compile(r"(distributed|tornado|asyncio)\b")


@dataclass(frozen=True)
class Engine:
    """What runs shares.

    Attributes:
        executor: makes one, for :func:`tessera_core._utils.spread.spread`, with no retries of its own: the scheduler begins the
            shares of lost workers again.
        workers: how many there are, or will be.
        where: its address, for people.
    """

    executor: Callable[[int], Executor]
    workers: int
    where: str


@contextmanager
def connect(
    where: str, workers: int = 1, *, memory: str | None = None, retries: int = RETRIES, connect_s: float = CONNECT_S
) -> Iterator[Engine]:
    """Reach a scheduler, or start one that ends with the body.

    Args:
        where: ``local`` (processes of this machine); an address such as ``tcp://host:8786``; the file that a scheduler wrote
            about itself (``dask scheduler --scheduler-file``); or ``slurm:PROFILE.toml`` and the like for jobs of a batch
            system (:mod:`tessera_core.cluster.profile`).
        workers: for ``local`` how many; of a running scheduler the shares are made for at least so many.
        memory: of each worker with ``local``, such as ``"4GB"``: one that takes more is begun anew. None sets no limit, because
            mapped files, which the system takes back as it likes, would count.
        retries: how often a share is begun again on another worker after its worker was lost or the system refused something.
        connect_s: longest wait for the scheduler's answer, in seconds.

    Raises:
        InputError: Dask is not installed, ``where`` means nothing, or nobody answers there.

    Example:
        >>> from tessera_core._utils.spread import spread
        >>> with connect("local", 2) as engine:  # doctest: +SKIP
        ...     parts = spread(task, share, engine.workers, executor=engine.executor)
    """
    where = where.strip()
    kind = _kind(where)
    require_dask()
    with ExitStack() as stack:
        stack.enter_context(_calm())
        if kind == "address":
            client = stack.enter_context(_client(where, connect_s))
        elif kind == "file":
            client = stack.enter_context(_client(None, connect_s, scheduler_file=where))
        elif kind == LOCAL:
            cluster = stack.enter_context(_local(workers, memory, retries))
            client = stack.enter_context(_client(cluster, connect_s))
        else:
            profile = Profile.read(kind, Path(where.partition(":")[2]))
            cluster = stack.enter_context(profile.start(retries))
            client = stack.enter_context(_client(cluster, connect_s))
            workers = max(workers, profile.maximum)
        address = str(client.scheduler.address)
        if kind in ("address", "file"):
            known = len(client.scheduler_info(n_workers=-1)["workers"])
            workers = max(workers, known or GUESS)
        yield Engine(lambda _: DaskExecutor(client, address, retries), workers, address)


def require_dask() -> None:
    """Refuse where Dask's scheduler is not installed.

    Raises:
        InputError: it is not.
    """
    if find_spec("distributed") is None:
        raise InputError(
            "Handing work to a scheduler needs Dask, which is not installed here: pip install 'tessera-studio[cluster]'. "
            "--workers N and --share I/N need nothing."
        )


def _kind(where: str) -> str:
    """``local``, ``address``, ``file``, or the name of a batch system."""
    system, colon, rest = where.partition(":")
    if where == LOCAL:
        return LOCAL
    if system in SYSTEMS and colon:
        return system
    if "://" in where or (colon and rest.isdigit()):
        return "address"
    if Path(where).is_file():
        return "file"
    if where.endswith(".json"):
        raise InputError(
            f"{where} does not exist; it is written by 'dask scheduler --scheduler-file {where}' when that starts."
        )
    raise InputError(
        f"{where!r} is no scheduler; write {LOCAL}, an address such as tcp://host:8786, the file that a scheduler wrote, or "
        f"{next(iter(SYSTEMS))}:PROFILE.toml."
    )


@contextmanager
def _client(target: Any, timeout: float, **more: Any) -> Iterator[Client]:
    from distributed import Client

    said = more.get("scheduler_file") or getattr(target, "scheduler_address", target)
    try:
        client = Client(target, timeout=timeout, set_as_default=False, **more)
    except (OSError, ValueError, TypeError, KeyError) as error:
        detail = f"{error}".partition("\n")[0]
        raise InputError(
            f"No scheduler answers at {said} ({detail or type(error).__name__}); nothing was done. Start it, or "
            "correct --scheduler."
        ) from error
    try:
        yield client
    finally:
        # One that was lost would be waited for.
        client.close(timeout=5)


@contextmanager
def _local(workers: int, memory: str | None, retries: int) -> Iterator[Any]:
    from distributed import LocalCluster

    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=memory or 0,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            scheduler_kwargs={"allowed_failures": retries},
        )
    except ValueError as error:
        raise InputError(f"{memory} is no amount of memory ({error}); write it as 4GB.") from error
    with cluster:
        yield cluster


@contextmanager
def _calm() -> Iterator[None]:
    """Dask tells lost workers and closed lines at length; ours are told in one sentence."""
    # It sets what it logs when it is imported.
    import distributed  # noqa: F401

    if logging.getLogger().isEnabledFor(logging.INFO):
        yield
        return
    before = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict if _CALM.match(name)}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
