"""Where weights come from: names, the published files behind them, and fetching those files once.

``v2-medium``, ``v1.1-mpc`` and so on come from the Hugging Face hub into its own cache (``HF_HOME``, ``HF_ENDPOINT``,
``HF_HUB_OFFLINE`` and ``HF_TOKEN`` mean what they always mean there); ``studio-*`` ships with this package; anything else is a
local file. Knows nothing of what is inside a checkpoint.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from tessera_core._utils.torch_part import how_to_add
from tessera_core.errors import CheckpointError, DownloadError, ExportError, MissingPartError
from tessera_core.gate import is_missing, regular
from tessera_core.types import Progress

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
_PATIENCE = 5


@dataclass(frozen=True)
class PublishedFile:
    """One released checkpoint.

    Attributes:
        name: how people ask for it.
        version, variant: of the dataset its embeddings make, e.g. ``"2.0"`` and ``"2B-L"``.
        repo, filename: on the Hugging Face hub; ``repo`` is empty where the authors use another place.
        sha256, size: where known, else empty / 0.
        run_names: other names under which the same weights are handed around.
    """

    name: str
    version: str
    variant: str
    repo: str
    filename: str
    sha256: str = ""
    size: int = 0
    run_names: tuple[str, ...] = ()


# Facts of spec section 0.
PUBLISHED: dict[str, PublishedFile] = {
    file.name: file
    for file in (
        PublishedFile("v1.0-fp32", "1.0", "fp32", "", "best_model_fsdp_20250427_084307.pt"),
        PublishedFile(
            "v1.0-qat",
            "1.0",
            "qat",
            "geotessera/TESSERA-V-1.0",
            "tessera-v1.0-QAT-best.pt",
            run_names=("best_model_fsdp_20250608_220648_QAT",),
        ),
        PublishedFile(
            "v1.1-mpc",
            "1.1",
            "mpc",
            "geotessera/TESSERA-V-1.1",
            "tessera_v1_1_mpc_encoder.pt",
            "5dab0f070d5711034f7c241e841eaeedb49fef90b9355f68c8f20b9507839ec3",
            run_names=("tessera_v1_1_mpc_full", "best_model_fsdp_20260425_133615"),
        ),
        PublishedFile(
            "v1.1-aws",
            "1.1",
            "aws",
            "geotessera/TESSERA-V-1.1",
            "tessera_v1_1_aws_encoder.pt",
            run_names=("tessera_v1_1_aws_full", "best_model_fsdp_20260425_202039"),
        ),
        PublishedFile(
            "v2-nano",
            "2.0",
            "2B-N",
            "geotessera/TESSERA-V-2.0-2B-N",
            "ckpt/student_nano.pt",
            "bc9929e3643dfab2744c2ce14e7c14f698703a94e9562e4e0982f9d6540b0691",
            4_288_221,
        ),
        PublishedFile(
            "v2-small",
            "2.0",
            "2B-S",
            "geotessera/TESSERA-V-2.0-2B-S",
            "ckpt/student_small.pt",
            "92619d4ffc2936895f145fdcf710140b58c23c860e02f01873828b10c6958d95",
            28_488_531,
        ),
        PublishedFile(
            "v2-medium",
            "2.0",
            "2B-M",
            "geotessera/TESSERA-V-2.0-2B-M",
            "ckpt/student_medium.pt",
            "3823be7db9d9cfc93f3c2a47c7699be82821ab4e1117d4d2befdb746941ee96e",
            84_163_403,
        ),
        PublishedFile(
            "v2-large",
            "2.0",
            "2B-L",
            "geotessera/TESSERA-V-2.0-2B-L",
            "ckpt/student_large.pt",
            "b5f20239dbb1849c01a3e407b095aafe39b0bf764300206af78cb9b85f9ec1e1",
            175_363_923,
        ),
        PublishedFile(
            "v2-teacher",
            "2.0",
            "2B-teacher",
            "geotessera/TESSERA-V-2.0-2B-Teacher",
            "ckpt/tessera_v2_2B_teacher.pt",
            "bfca890a9956485edf9d6be61375fde4cd0b4cb4b47db79596f0523a289aa555",
            8_257_134_395,
        ),
    )
}


# What lies in WEIGHTS_FOLDER, so that bytes changed there are noticed.
SHIPPED = {"studio-nano.safetensors": "21d844e233363f139823cbf136c08d2bd189c6df26d0558b60c3e2d5aaf63486"}


# By the beginning of their SHA-256: weights that were taught to say the seasonal statistics themselves (docs/studio-nano.md).
TAUGHT_SEASONS = frozenset({"21d844e2"})


# The same weights under another name, which says that they are computed otherwise; see EncoderConfig.with_arithmetic.
OTHERWISE = {"v1.1-dclimate": "v1.1-aws"}


def names() -> list[str]:
    """Every name :func:`resolve` understands: shipped checkpoints first, then the published ones."""
    return [*sorted(path.stem for path in WEIGHTS_FOLDER.glob("*.safetensors")), *PUBLISHED, *OTHERWISE]


def published(path: Path, sha256: str) -> tuple[PublishedFile | None, bool]:
    """Which released checkpoint a file is, and whether that is certain.

    Certain when its sha256 is known; otherwise judged by the file's name, but never against a known sha256.
    """
    for file in PUBLISHED.values():
        if file.sha256 and file.sha256 == sha256:
            return file, True
    for file in PUBLISHED.values():
        if path.stem in (Path(file.filename).stem, *file.run_names) and not (
            file.sha256 and path.name == Path(file.filename).name
        ):
            return file, False
    return None, False


def resolve(name_or_path: str | Path, progress: Progress | None = None) -> Path:
    """The local file behind a name or path, downloading it if it is a published one that is not here yet.

    Args:
        name_or_path: one of :func:`names`, or a file.
        progress: ``(bytes done, bytes in all, message)`` while downloading; may raise to stop, and what was fetched is resumed
            the next time.

    Raises:
        CheckpointError: no such name or file.
        DownloadError: the hub cannot be reached, has no such file, or sent wrong bytes.
    """
    path = Path(name_or_path).expanduser()
    if not is_missing(path) and not os.path.isdir(path):
        regular(path, CheckpointError)
        return path
    name = str(name_or_path)
    shipped = WEIGHTS_FOLDER / f"{name}.safetensors"
    if re.fullmatch(r"[\w.-]+", name) and shipped.is_file():
        return shipped
    if (file := PUBLISHED.get(OTHERWISE.get(name, name))) is not None:
        return _fetch(file, progress)
    if os.path.isdir(path):
        raise CheckpointError(f"{path} is a folder; give the checkpoint file in it, or one of {', '.join(names())}.")
    raise CheckpointError(f"There is no weights file {name}, and it is not one of {', '.join(names())}.")


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(file: PublishedFile, progress: Progress | None) -> Path:
    if not file.repo:
        raise CheckpointError(
            f"{file.name} is not on the Hugging Face hub; its authors hand out {file.filename} on Google Drive. "
            "Download it there (see the README of ucam-eo/tessera) and give the path of the file instead of the name."
        )
    if find_spec("huggingface_hub") is None:
        raise MissingPartError(
            f"The weights {file.name} are fetched by the part of this program that generates embeddings, which is not "
            f"installed here: {how_to_add()}."
        )
    # Imported here because it takes half a second and most runs need no download.
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(file.repo, file.filename, cache_dir=_cache_folder())
    if isinstance(cached, str):
        return Path(cached)
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise DownloadError(
            f"The weights {file.name} are not in the cache {_cache_folder()} and HF_HUB_OFFLINE forbids fetching them; "
            "unset it, or give the path of a downloaded file."
        )
    transfer = _Transfer(file, progress)
    transfer.run()
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        # The bytes are in place now; the hub's own client links them into its cache so that other programs find them.
        return Path(hf_hub_download(file.repo, file.filename, cache_dir=_cache_folder(), endpoint=endpoint))
    except _network_errors() as error:
        raise DownloadError(transfer.unreachable("the hub", error)) from error


def _cache_folder() -> Path:
    """The hub's cache folder, as the environment says now rather than when its library was imported."""
    from huggingface_hub import constants

    if explicit := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(explicit).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(constants.HF_HUB_CACHE)


class _Transfer:
    """Fetch one file of the hub into its cache's blob folder, resuming what an earlier process left.

    The hub's client throws partial files away when a process ends, and up to ten megabytes with every broken connection; for
    gigabytes on a slow line that means never finishing.
    """

    def __init__(self, file: PublishedFile, progress: Progress | None) -> None:
        self.file, self.progress = file, progress

    def run(self) -> None:
        """Leave the whole, verified file under its blob name; a partial one stays as ``.part``, a wrong one is removed."""
        from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url
        from huggingface_hub.file_download import repo_folder_name
        from huggingface_hub.utils import WeakFileLock, build_hf_headers

        network = _network_errors()
        endpoint = os.environ.get("HF_ENDPOINT")
        url = hf_hub_url(self.file.repo, self.file.filename, endpoint=endpoint)
        host = urlsplit(url).netloc
        try:
            meta = get_hf_file_metadata(url, endpoint=endpoint)
        except (errors.RepositoryNotFoundError, errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
            raise DownloadError(
                f"{host} has no file {self.file.filename} in {self.file.repo}; it may have moved. "
                "Download it by hand and give its path."
            ) from error
        except network as error:
            raise DownloadError(self.unreachable(host, error)) from error
        if not meta.etag or not meta.location:
            raise DownloadError(f"{host} does not answer like the Hugging Face hub; check HF_ENDPOINT and any proxy.")
        folder = repo_folder_name(repo_id=self.file.repo, repo_type="model")
        blobs, locks = _cache_folder() / folder / "blobs", _cache_folder() / ".locks" / folder
        target, part = blobs / meta.etag, blobs / f"{meta.etag}.part"
        headers = build_hf_headers()
        if urlsplit(meta.location).netloc != host:
            headers.pop("authorization", None)  # a token for the hub is not meant for its content network
        try:
            blobs.mkdir(parents=True, exist_ok=True)
            locks.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(locks / f"{meta.etag}.part.lock"):
                if target.exists():
                    return
                self._receive(meta.location, headers, part, meta.size or self.file.size, network)
                self._verify(part, meta.etag, host)
                os.replace(part, target)
        except network as error:
            raise DownloadError(self.unreachable(host, error)) from error
        except OSError as error:
            raise ExportError(
                f"Cannot write {part}: {error.strerror}. Free some space or set HF_HOME elsewhere."
            ) from error

    def _receive(
        self, url: str, headers: dict[str, str], part: Path, size: int, network: tuple[type[Exception], ...]
    ) -> None:
        """Fill ``part``, going on where a broken connection left it; gives up when attempts stop bringing anything new."""
        best = have = part.stat().st_size if part.exists() else 0
        failures = 0
        while not size or have < size:
            try:
                self._stream(url, headers, part, have, size)
                if not size:
                    return
            except network:
                if failures == _PATIENCE:
                    raise
            have = part.stat().st_size if part.exists() else 0
            failures = 0 if have > best else failures + 1
            best = max(best, have)
            if have < size:
                if failures > _PATIENCE:
                    raise DownloadError(
                        f"The weights {self.file.name} end after {have} of {size} bytes; try again later."
                    )
                time.sleep(1)

    def _stream(self, url: str, headers: dict[str, str], part: Path, have: int, size: int) -> None:
        from huggingface_hub.utils import get_session

        # Identity: offsets count bytes of the file, not of a compressed stream.
        request = headers | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with get_session().stream("GET", url, headers=request, follow_redirects=True) as response:
            response.raise_for_status()
            if response.status_code != 206:
                have = 0  # the server sends the whole file again
            with part.open("r+b" if have else "wb") as out:
                out.seek(have)
                for chunk in response.iter_bytes():
                    out.write(chunk)
                    have += len(chunk)
                    if self.progress is not None:
                        self.progress(have, max(size, have), f"downloading {self.file.name}")

    def _verify(self, part: Path, etag: str, host: str) -> None:
        # For large files the hub's etag is the sha256 of the content, so even files without a published sum are checked.
        expected = self.file.sha256 or (etag if re.fullmatch(r"[0-9a-f]{64}", etag) else "")
        if expected and (found := file_sha256(part)) != expected:
            part.unlink()
            raise DownloadError(
                f"What {host} sent for {self.file.name} is not the released file (sha256 {found[:12]}... instead of "
                f"{expected[:12]}...), so it was not kept. Try again, or download {self.file.filename} of "
                f"{self.file.repo} by hand."
            )

    def unreachable(self, host: str, error: BaseException) -> str:
        """A sentence for a fetch that failed."""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".")
        return (
            f"The weights {self.file.name} could not be fetched from {host} ({reason}). Check the connection and try again: "
            "what has arrived is kept."
        )


def _network_errors() -> tuple[type[Exception], ...]:
    """What a failed fetch raises: the hub's own errors and those of the HTTP library its installed version uses."""
    from huggingface_hub import errors

    found: list[type[Exception]] = [errors.HfHubHTTPError, errors.FileMetadataError, errors.LocalEntryNotFoundError]
    for library in ("httpx", "httpx2"):
        if find_spec(library):
            found.append(importlib.import_module(library).HTTPError)
    return tuple(found)
