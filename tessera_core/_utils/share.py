"""One machine's part of a list of things that several machines do: every Nth of them, without anybody who hands them out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tessera_core.errors import InputError

AUTO = "auto"


@dataclass(frozen=True)
class Share:
    """Which part of a list is done here.

    Attributes:
        number: of this part, from 1.
        of: how many parts there are.

    Raises:
        InputError: there is no such part.

    Example:
        >>> Share(2, 3).take(["a", "b", "c", "d", "e"])
        ['b', 'e']
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise InputError(
                f"There is no share {self.number} of {self.of}; shares are counted from 1, such as 1/{max(self.of, 1)}."
            )

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] | None = None) -> Share:
        """A share as it is written, ``I/N``, or ``auto`` for that of a job array's task.

        SLURM says which task of how many this is; an indexed Kubernetes job says which (from 0), and ``auto/N`` of how many.

        Raises:
            InputError: it is neither, or the environment does not say what ``auto`` is.
        """
        environment = os.environ if environment is None else environment
        if match := re.fullmatch(r"(\d+)/(\d+)", text.strip()):
            return cls(int(match[1]), int(match[2]))
        match = re.fullmatch(rf"{AUTO}(?:/(\d+))?", text.strip())
        if match is None:
            raise InputError(f"{text!r} is not a share; write I/N, such as 3/40 for the third of forty, or {AUTO}.")
        number, of = _of_job(environment)
        of = int(match[1]) if match[1] else of
        if number is None or of is None:
            what = "which task of a job array this is" if number is None else "of how many tasks, so add /N"
            raise InputError(
                f"Nothing says {what} (SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX); give --share I/N instead of {AUTO}."
            )
        return cls(number, of)

    def take[T](self, things: Sequence[T]) -> list[T]:
        """The things of this share; all shares together have each thing once."""
        return list(things[self.number - 1 :: self.of])

    def split(self, parts: int) -> list[Share]:
        """This share as smaller ones, which together have what it has."""
        return [Share(self.number + self.of * part, self.of * parts) for part in range(parts)]


WHOLE = Share()


def _of_job(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Number (from 1) and count of a job array's tasks, as far as the environment says."""

    def told(name: str, default: int | None = None) -> int | None:
        text = environment.get(name, "")
        return int(text) if text.isdigit() else default

    if (task := told("SLURM_ARRAY_TASK_ID")) is not None:
        first, step = told("SLURM_ARRAY_TASK_MIN", 0) or 0, told("SLURM_ARRAY_TASK_STEP", 1) or 1
        return (task - first) // step + 1, told("SLURM_ARRAY_TASK_COUNT")
    index = told("JOB_COMPLETION_INDEX")
    return (None if index is None else index + 1), None
