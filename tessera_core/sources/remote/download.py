"""One file from a server to the disk: whole and of the length announced, or a sentence that says why not."""

from __future__ import annotations

from pathlib import Path

from tessera_core.errors import AcquisitionError
from tessera_core.sources.remote.resilient import PieceError


def download(url: str, path: Path) -> int:
    """Download ``url`` to ``path`` unless it lies there; geotessera checks length and ETag, and tries again.

    Returns:
        Bytes that came, 0 where the file was there.

    Raises:
        PieceError: it cannot be had now.
        AcquisitionError: it cannot be written.
    """
    import urllib3
    from geotessera.registry import HTTPStatusError, UnwritableDestination, download_file_to_temp

    if path.is_file():
        return 0
    try:
        download_file_to_temp(url, cache_path=path)
    except UnwritableDestination as error:
        raise AcquisitionError(
            f"Cannot write {path.parent}: {error.strerror}. Free some space or set TESSERA_HOME."
        ) from error
    except HTTPStatusError as error:
        raise PieceError(f"the server answered with error {error.status} for {path.name}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        root: BaseException = getattr(error, "reason", None) or error
        if isinstance(root, urllib3.exceptions.NewConnectionError):
            raise PieceError("the server cannot be reached") from error
        raise PieceError(f"{path.name} could not be downloaded whole") from error
    return path.stat().st_size
