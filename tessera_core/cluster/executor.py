"""Dask's client as an executor of the standard library, whose lost workers and schedulers look like those of a pool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tessera_core import __version__
from tessera_core.errors import ExportError, TesseraError

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

# Workers that others started may run several tasks in one process; ours compute one after the other.
_turn = threading.Lock()


class DaskExecutor(Executor):
    """Submits to a scheduler; nothing else of Dask is seen through it.

    A task whose workers were lost too often ends with BrokenExecutor, all of them with an ExportError when the scheduler is lost.

    Args:
        client: connected.
        where: its address, for messages.
        retries: how often a task is begun again that ended with an error of the system; lost workers are counted by the
            scheduler.
    """

    def __init__(self, client: Client, where: str, retries: int) -> None:
        self._client, self._where, self._retries = client, where, retries
        self._sent: list[DaskFuture] = []

    def submit[**P, R](self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """As of every executor."""
        answer: Future[R] = Future()
        if self._client.status != "running":
            raise lost(self._where)
        sent = self._client.submit(_run, __version__, fn, args, kwargs, pure=False, retries=self._retries)
        self._sent.append(sent)
        sent.add_done_callback(lambda done: self._pass_on(done, answer))
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget what was submitted; with ``cancel_futures`` what has not begun is not done."""
        sent, self._sent = self._sent, []
        if cancel_futures and self._client.status == "running":
            self._client.cancel(sent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        # Stopped or refused, nobody waits for the rest.
        self.shutdown(cancel_futures=error is not None)
        return None

    def _pass_on[R](self, done: DaskFuture, answer: Future[R]) -> None:
        from distributed.scheduler import KilledWorker

        if not answer.set_running_or_notify_cancel():
            return
        try:
            result = done.result(timeout=60)
        except KilledWorker as error:
            answer.set_exception(BrokenExecutor(f"the last one was {error.last_worker.address}"))
        except CancelledError:
            answer.set_exception(lost(self._where))
        except (ImportError, AttributeError) as error:
            answer.set_exception(
                ExportError(
                    f"A worker of {self._where} cannot run this ({error}); install tessera-studio {__version__} where the workers "
                    "run, and start them anew."
                )
            )
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the task's
            answer.set_exception(error)
        else:
            answer.set_result(result)
        finally:
            # What has arrived need not be made again when the worker that holds it is lost.
            if done in self._sent:
                self._sent.remove(done)


def lost(where: str) -> TesseraError:
    """The error of a scheduler that does not answer any more."""
    return ExportError(
        f"The scheduler at {where} does not answer any more. Run the same command again when it does: what was finished is kept."
    )


def _run[R](version: str, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    """On the worker: refuse what another version sent, then work when it is this task's turn."""
    if version != __version__:
        raise ImportError(f"it has version {__version__}, the command {version}")
    with _turn:
        return fn(*args, **kwargs)
