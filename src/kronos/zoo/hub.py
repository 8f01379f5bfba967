"""Downloads of checkpoints from the Hugging Face Hub, through huggingface_hub.

- Cached checkpoints are used without the network.
- Mirrors (``HF_ENDPOINT``), ``HF_HOME``, ``HF_HUB_OFFLINE`` and tokens are handled by the client.
- Errors become one sentence: what failed, why, and the fix.
"""

from __future__ import annotations

import errno
import re
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kronos.errors import CheckpointError, StorageError
from kronos.network import describe_failure, environment_problem, is_unresolved
from kronos.progress import ProgressCallback
from kronos.provenance import sha256_file
from kronos.zoo.catalog import closest_name, find_entry
from kronos.zoo.checkpoint import CALIBRATION, CONFIG, PICKLES, RECORD, WEIGHTS, read_header

_FILES = (CONFIG, WEIGHTS, RECORD, CALIBRATION, "README.md")
_PATTERNS = (*_FILES, *(f"{kind}/{name}" for kind in ("model", "tokenizer") for name in _FILES))
_TIMEOUT = 10.0  # seconds; the client's default for the metadata of a file
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ELSEWHERE = "download the repository on another machine and pass its folder"


@dataclass(frozen=True)
class HubRequest:
    """A repository to download, with options.

    Attributes:
        repo: Repository id, ``user/name``.
        revision: Branch, tag or commit; None for the newest commit.
        sha256: Expected SHA-256 of ``model.safetensors``; None to skip the check.
        cache_dir: Folder for downloads; None for the hub's own cache.
        offline: Never use the network.
        force: Download again even if cached.
        token: Access token, as in huggingface_hub.
    """

    repo: str
    revision: str | None = None
    sha256: str | None = None
    cache_dir: Path | None = None
    offline: bool = False
    force: bool = False
    token: bool | str | None = None


def cached_folder(request: HubRequest) -> Path | None:
    """Folder of a repository in the cache, or None if it has no checkpoint there; never uses the network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for part in ("", "model/", "tokenizer/"):
        paths = []
        for name in (CONFIG, WEIGHTS):
            try:
                path = try_to_load_from_cache(
                    request.repo, part + name, cache_dir=request.cache_dir, revision=request.revision
                )
            except HFValidationError:
                return None
            paths.append(path)
        if all(isinstance(path, str) and Path(path).is_file() for path in paths):
            folder = Path(str(paths[0])).parent
            return folder.parent if part else folder
    return None


def fetch(request: HubRequest, progress: ProgressCallback | None = None) -> Path:
    """Get the files of a checkpoint from the cache or, if they are missing, from the hub.

    An interrupted download leaves no partial checkpoint, and is continued the next time.

    Args:
        request: The repository, with options.
        progress: Called with the bytes done and the total, from any thread.

    Returns:
        Folder of the snapshot.

    Raises:
        CheckpointError: If the files are not available.
        StorageError: If the cache cannot be written.
    """
    offline = request.offline or _client_is_offline()
    found = cached_folder(request) if offline or not request.force else None
    if found is None and offline:
        raise CheckpointError(_describe_not_cached(request))
    folder = found or _download(request, progress)
    for weights in _weights_in(folder):
        _check_complete(weights, request)
        if found is None and request.sha256 is not None:
            _check_digest(weights, request)
    return folder


def revision_of(folder: Path) -> str | None:
    """Commit of a snapshot in the cache; None for other folders."""
    return folder.name if _COMMIT.fullmatch(folder.name) and folder.parent.name == "snapshots" else None


def cache_root(cache_dir: Path | None) -> Path:
    """Folder for downloads."""
    from huggingface_hub import constants

    return cache_dir if cache_dir is not None else Path(constants.HF_HUB_CACHE)


def endpoint() -> str:
    """URL of the hub or mirror in use."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _client_is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _client_errors() -> tuple[type[Exception], ...]:
    """Exceptions of the hub's client: its own, and those of its transport (httpx or httpx2)."""
    from huggingface_hub import errors

    own = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    bases = {base for error in own for base in error.__mro__ if base.__name__ == "HTTPError"}
    transports = {sys.modules[base.__module__.partition(".")[0]] for base in bases}
    invalid = [transport.InvalidURL for transport in transports if hasattr(transport, "InvalidURL")]
    return (*own, *bases, *invalid, OSError, ValueError, RuntimeError)


def _download(request: HubRequest, progress: ProgressCallback | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    problem = environment_problem("httpx")
    if problem is not None:
        raise CheckpointError(f"{_name(request)} cannot be downloaded. {problem}")
    try:
        # The metadata first: this request fails at once, while a download would be retried for half a minute.
        info = HfApi(token=request.token).model_info(request.repo, revision=request.revision, timeout=_TIMEOUT)
        _check_offered(request, [file.rfilename for file in info.siblings or ()])
        folder = snapshot_download(
            request.repo,
            revision=request.revision,
            cache_dir=request.cache_dir,
            force_download=request.force,
            token=request.token,
            allow_patterns=list(_PATTERNS),
            tqdm_class=_progress_class(progress),
        )
    except CheckpointError:
        raise
    except _client_errors() as error:
        if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
            raise StorageError(
                f"Cannot store {request.repo} in {cache_root(request.cache_dir)} ({error.strerror}); free space or set "
                f"KRONOS_CACHE_DIR to another folder."
            ) from error
        raise CheckpointError(_describe_failure(request, error)) from error
    return Path(folder)


def _check_offered(request: HubRequest, names: list[str]) -> None:
    """Reject repositories without safetensors before the download."""
    if any(Path(name).name == WEIGHTS for name in names):
        return
    pickled = sorted(name for name in names if Path(name).suffix in PICKLES)
    detail = f", only pickled weights ({pickled[0]}), which can run code" if pickled else ""
    raise CheckpointError(
        f"{request.repo} has no {WEIGHTS}{detail}; choose another repository, or convert its weights and pass their "
        f"folder."
    )


def _describe_failure(request: HubRequest, error: Exception) -> str:
    """Message for a failed download."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"{_name(request)} is gated: accept its terms on {endpoint()}/{request.repo}, then log in with 'hf auth "
            f"login' or set HF_TOKEN."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{endpoint()} has no revision '{request.revision}' of {request.repo}; pass 'main'."
    status = _status(error)
    unknown = isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError)
    if unknown or status in (401, 403, 404):
        return _describe_not_found(request, status)
    reason = _reason(error, status)
    return (
        f"The weights of {_name(request)} are not in the cache ({cache_root(request.cache_dir)}) and {reason}; try "
        f"again, set HF_ENDPOINT to a mirror, or {_ELSEWHERE}."
    )


def _reason(error: Exception, status: int | None) -> str:
    """Reason of a failed download, as a clause."""
    text = str(error)
    if status is not None:
        return f"{endpoint()} returned status {status}"
    if "onsistency check" in text or "peer closed" in text:
        return f"the connection to {endpoint()} was closed before a file was complete"
    explained = describe_failure(error, endpoint(), "httpx")
    if explained is not None:
        return f"{endpoint()} {explained[0]}; {explained[1]}"
    if is_unresolved(error):
        return f"{endpoint()} cannot be reached (its name cannot be resolved)"
    if isinstance(error, OSError) or type(error).__module__.startswith("httpx"):
        return f"{endpoint()} cannot be reached"
    return f"the download failed ({text.splitlines()[0][:120] if text else type(error).__name__})"


def _status(error: BaseException | None) -> int | None:
    """HTTP status of an error or its causes; None if there was no response."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return None


def _describe_not_found(request: HubRequest, status: int | None) -> str:
    """Message for a repository that does not exist, or not for this user."""
    near = closest_name(request.repo)
    hint = f"did you mean {near}?" if near and find_entry(request.repo) is None else "check the name."
    private = ", or it is private and needs 'hf auth login' or HF_TOKEN" if status in (401, 403) else ""
    return f"{endpoint()} has no repository {request.repo}{private}; {hint}"


def _describe_not_cached(request: HubRequest) -> str:
    """Message for a checkpoint that is not cached while offline."""
    other = cached_folder(replace(request, revision=None)) if request.revision else None
    fix = f"pass revision='main' to use the cached {revision_of(other)}" if other else _ELSEWHERE
    return (
        f"{_name(request)} is not in the cache ({cache_root(request.cache_dir)}) and the network is switched off "
        f"(KRONOS_OFFLINE, HF_HUB_OFFLINE or local_files_only); go online once, or {fix}."
    )


def _name(request: HubRequest) -> str:
    return f"{request.repo} at revision {request.revision[:12]}" if request.revision else request.repo


def _weights_in(folder: Path) -> list[Path]:
    """Weights in a snapshot, also those of the two parts of a forecasting folder."""
    return [path for part in ("", "model", "tokenizer") if (path := folder / part / WEIGHTS).is_file()]


def _check_complete(weights: Path, request: HubRequest) -> None:
    """Check the weights; remove corrupt ones from the cache, where they would stay otherwise."""
    try:
        read_header(weights)
    except CheckpointError as error:
        _discard(weights)
        raise CheckpointError(
            f"The weights of {request.repo} in the cache ({cache_root(request.cache_dir)}) were corrupt and have been "
            f"removed; try again to download them."
        ) from error


def _check_digest(weights: Path, request: HubRequest) -> None:
    """Check the SHA-256 of downloaded weights; remove wrong ones from the cache."""
    if sha256_file(weights) == request.sha256:
        return
    _discard(weights)
    raise CheckpointError(
        f"{WEIGHTS} of {request.repo} from {endpoint()} is not the published file (its sha256 differs) and was "
        f"deleted; try again, or check the mirror in HF_ENDPOINT."
    )


def _discard(weights: Path) -> None:
    """Remove a file from the cache with the blob it links to, which the client would otherwise link again."""
    blob = weights.resolve()
    weights.unlink()
    blob.unlink(missing_ok=True)


def _progress_class(progress: ProgressCallback | None) -> type[Any]:
    """Progress bar class for the hub's client: silent, and forwarding the bytes to `progress`.

    The client updates several bars (files, bytes received, bytes written). All bars of bytes count the same bytes, so
    the most advanced one is reported.
    """
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    base: Any = tqdm  # its methods are not annotated
    lock = threading.Lock()
    furthest = 0

    class Silent(base):  # type: ignore[misc]
        """A progress bar without output."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": True})
            self.n, self.total = kwargs.get("initial") or 0, kwargs.get("total")

        def update(self, n: float | None = 1) -> None:
            """Count and report."""
            nonlocal furthest
            with lock:
                self.n += n or 0
                if progress is not None and self._counts_bytes and self.total and self.n > furthest:
                    furthest = int(min(self.n, self.total))
                    progress(furthest, int(self.total))

    return Silent
