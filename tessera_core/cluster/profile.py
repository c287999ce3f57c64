"""How jobs of a batch system are asked for: a TOML file, such as for SLURM

    queue = "standard"
    account = "forests"
    memory = "4GB"          # of a worker
    walltime = "04:00:00"
    maximum = 40            # workers at once; between minimum and maximum as there is work
    minimum = 0

Each job is one worker that computes with one thread. Any other key is passed on to dask-jobqueue as it is
(``job_extra_directives``, ``job_script_prologue``, ``python``, ...).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError

# Name -> class of dask-jobqueue. Only SLURM's was tried.
SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
_ONE = {"cores": 1, "processes": 1, "memory": "4GB"}


@dataclass(frozen=True)
class Profile:
    """Jobs to ask for.

    Attributes:
        system: one of :data:`SYSTEMS`.
        minimum, maximum: workers at least and at most.
        options: of dask-jobqueue's class.
    """

    system: str
    minimum: int
    maximum: int
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, system: str, path: Path) -> Profile:
        """A profile from its file.

        Raises:
            InputError: it cannot be read, or says nothing of use.
        """
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"The profile {path} cannot be read: {error.strerror or error}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"The profile {path} is not TOML: {error}.") from error
        minimum, maximum = found.pop("minimum", 0), found.pop("maximum", 0)
        if not (isinstance(minimum, int) and isinstance(maximum, int) and 0 <= minimum <= maximum and maximum > 0):
            raise InputError(
                f"The profile {path} does not say how many workers: write maximum = 40, and minimum if there is one."
            )
        return cls(system, minimum, maximum, {**_ONE, **found})

    @contextmanager
    def start(self, retries: int) -> Iterator[Any]:
        """A cluster that asks for jobs as there is work.

        Raises:
            InputError: dask-jobqueue is not installed, does not know an option, or cannot ask for jobs.
        """
        if find_spec("dask_jobqueue") is None:
            raise InputError(
                "Asking a batch system for workers needs dask-jobqueue, which is not installed here: "
                "pip install 'tessera-studio[cluster]'. A job array with --share auto needs nothing."
            )
        import dask_jobqueue

        scheduler = {
            "allowed_failures": retries,
            "dashboard_address": None,
            **self.options.get("scheduler_options", {}),
        }
        try:
            cluster = getattr(dask_jobqueue, SYSTEMS[self.system])(**self.options | {"scheduler_options": scheduler})
        except (TypeError, ValueError, RuntimeError) as error:
            detail = f"{error}".partition("\n")[0]
            raise InputError(f"The profile for {self.system} cannot be used: {detail}.") from error
        with cluster:
            cluster.adapt(minimum=self.minimum, maximum=self.maximum)
            yield cluster
