"""Errors whose messages are fit for a person: what is wrong, where, and what to do about it.

The command line turns an :class:`InputError` into exit code 2 and any other :class:`TesseraError` into exit code 1;
the app shows the message on the page. Neither ever shows a traceback for them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import StrEnum

# How a sentence is shown to whoever reads it; a server for strangers sets another.
_shown: Callable[[str], str] = str


def show_with(shown: Callable[[str], str]) -> None:
    """Say how the sentences of all errors are shown, e.g. without the folders of a server."""
    global _shown
    _shown = shown


class Hint(StrEnum):
    """Where an error can be put right. The app turns it into a link to the page; a sentence names no page, because the command
    line and notebooks have none."""

    REGION = "region"
    LABELS = "labels"
    PLOTS = "plots"
    PACKS = "packs"
    GENERATE = "generate"
    MAPS = "maps"


class TesseraError(Exception):
    """Base of every error that Tessera Studio raises on purpose; its message is shown to people as it is.

    On a server for strangers it names files, but not where the server keeps them.

    Attributes:
        hint: where it can be put right, or None.

    Examples:
        >>> error = InputError("There are no labels yet.", hint=Hint.LABELS)
        >>> str(error), error.hint.value
        ('There are no labels yet.', 'labels')
    """

    def __init__(self, *args: object, hint: Hint | None = None) -> None:
        super().__init__(*args)
        self.hint = hint

    def __str__(self) -> str:
        return _shown(super().__str__())


class InputError(TesseraError):
    """Something the user gave is wrong and can be mended by giving something else."""


class GridError(InputError):
    """A grid cannot be built or used: no CRS, a shape of zero, a place outside the CRS."""


class TileError(InputError):
    """A d-pixel tile directory is incomplete or inconsistent."""


class RasterError(InputError):
    """An embedding raster cannot be read."""


class MixedDatasetsError(InputError):
    """Embeddings of two datasets would be mixed in one computation."""

    def __init__(self, first: str, second: str, where: str = "one computation") -> None:
        super().__init__(
            f"Embeddings of {first} and {second} cannot be mixed in {where}: "
            "their dimensions mean different things. Use one dataset, or a project for each."
        )
        self.first, self.second = first, second


class CheckpointError(InputError):
    """A checkpoint is not readable, not of a known model, or not safe to load."""


class LabelError(InputError):
    """A label, a class or a label file is not usable."""


class HeadError(InputError, ValueError):
    """A head cannot be fitted, saved or loaded with what it was given; a ValueError, too, as scikit-learn's tools expect."""


class MissingPartError(HeadError):
    """What was asked needs a part of this program that is not installed; a head's error, too, as two heads need it."""


class UnableError(HeadError, AttributeError):
    """A head of this kind cannot do what was asked of it; ``hasattr`` says so beforehand."""


class ProjectError(InputError):
    """A project file or a change to a project is not usable."""


class ExportError(TesseraError):
    """Something could not be written."""


class AcquisitionError(TesseraError):
    """Satellite data could not be fetched; what was fetched before is kept."""


class DownloadError(TesseraError):
    """Model weights could not be fetched."""


class BusyError(TesseraError):
    """A server for many has no room for one more of this now."""


class InUseError(ExportError):
    """Another run is writing this very thing at the moment; it is put back, or tried again later."""


class Cancelled(TesseraError):
    """The user stopped the work."""

    def __init__(self, message: str = "Stopped at your request; what was finished is kept.") -> None:
        super().__init__(message)


def want_of_memory(error: BaseException) -> str | None:
    """What to tell people where an error, or what caused it, is that the computer has too little memory; None otherwise.

    The learning library (PyTorch) cannot be loaded a second time in a process after its first loading failed.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        text = str(link)
        if "torch" in text and "only be initialized once" in text:
            return (
                "The part that generates embeddings could not be loaded, most likely because this computer has too little free "
                "memory: about 2 GB are needed. Close other programs, then stop Tessera Studio and start it again. Nothing is "
                "lost; all other pages work meanwhile."
            )
        short = isinstance(link, OSError) and link.errno == errno.ENOMEM
        if isinstance(link, MemoryError) or short or any(words in text.lower() for words in _NO_MEMORY):
            return (
                "This computer has run out of memory. Close other programs, or open a smaller region. Nothing is lost."
            )
        link = link.__cause__ or link.__context__
    return None


# What libraries say, in errors of many types: the loader of shared libraries, PyTorch, NumPy and GDAL.
_NO_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    "not enough memory",
    "unable to allocate",
    "std::bad_alloc",
)
