"""Getting a checkpoint's files from the hub, through huggingface_hub alone.

- The cache is looked at first, file by file, so that a checkpoint that is there never needs the network.
- Mirrors (``HF_ENDPOINT``), ``HF_HOME``, ``HF_HUB_OFFLINE`` and tokens are the client's own business and
  keep working.
- Whatever goes wrong becomes one sentence: what was tried, why it failed, and the mend.
"""

from __future__ import annotations

import errno
import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kronos.errors import CheckpointError, StorageError
from kronos.progress import ProgressCallback
from kronos.provenance import sha256_file
from kronos.zoo.catalog import find, nearest
from kronos.zoo.checkpoint import CALIBRATION, CONFIG, PICKLES, RECORD, WEIGHTS, read_header

_FILES = (CONFIG, WEIGHTS, RECORD, CALIBRATION, "README.md")
_PATTERNS = (*_FILES, *(f"{kind}/{name}" for kind in ("model", "tokenizer") for name in _FILES))
_TIMEOUT = 10.0  # seconds, as the client's own default for a file's metadata
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ELSEWHERE = "download the repository on another machine and pass its folder"


@dataclass(frozen=True)
class HubRequest:
    """Which repository to have, and how.

    Attributes:
        repo: ``user/name``.
        revision: Branch, tag or commit; None is the newest.
        sha256: What ``model.safetensors`` must hash to; None is not checked.
        cache_dir: Where downloads are kept; None is the hub's own cache.
        offline: Never use the network.
        force: Download again even what is cached.
        token: As huggingface_hub takes it.
    """

    repo: str
    revision: str | None = None
    sha256: str | None = None
    cache_dir: Path | None = None
    offline: bool = False
    force: bool = False
    token: bool | str | None = None


def cached_folder(request: HubRequest) -> Path | None:
    """Find the folder of a repository in the cache, without the network.

    Args:
        request: Which repository and revision, and in which cache.

    Returns:
        The snapshot's folder when it holds a checkpoint's files; None otherwise.
    """
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
    """Have a repository's checkpoint files: from the cache if they are there, otherwise from the hub.

    An interrupted download leaves nothing that could be taken for a checkpoint, and continues the next time.

    Args:
        request: Which repository, and how.
        progress: Called with the bytes done and the bytes in all, from any thread.

    Returns:
        The snapshot's folder.

    Raises:
        CheckpointError: If the files cannot be had.
        StorageError: If they cannot be kept: the disk is full, or the cache may not be written.
    """
    offline = request.offline or _client_is_offline()
    found = cached_folder(request) if offline or not request.force else None
    if found is None and offline:
        raise CheckpointError(_not_cached(request))
    folder = found or _download(request, progress)
    for weights in _weights_in(folder):
        _check_whole(weights, request)
        if found is None and request.sha256 is not None:
            _check_digest(weights, request)
    return folder


def revision_of(folder: Path) -> str | None:
    """Tell the commit that a snapshot's folder holds; None for folders that are not the cache's."""
    return folder.name if _COMMIT.fullmatch(folder.name) and folder.parent.name == "snapshots" else None


def cache_root(cache_dir: Path | None) -> Path:
    """Tell where downloads are kept."""
    from huggingface_hub import constants

    return cache_dir if cache_dir is not None else Path(constants.HF_HUB_CACHE)


def endpoint() -> str:
    """Tell which hub or mirror is asked."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _client_is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _client_errors() -> tuple[type[Exception], ...]:
    """List what the hub's client raises: its own errors, and its transport's (httpx or httpx2)."""
    from huggingface_hub import errors

    own = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    bases = {base for error in own for base in error.__mro__ if base.__name__ == "HTTPError"}
    return (*own, *bases, OSError, ValueError, RuntimeError)


def _download(request: HubRequest, progress: ProgressCallback | None) -> Path:
    """Download with the hub's client; translate its errors."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        # One plain question first: it fails at once where the download would retry for half a minute.
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
                f"Cannot keep {request.repo} in {cache_root(request.cache_dir)} ({error.strerror}); mend "
                f"that, or set KRONOS_CACHE_DIR to another folder."
            ) from error
        raise CheckpointError(_failure(request, error)) from error
    return Path(folder)


def _check_offered(request: HubRequest, names: list[str]) -> None:
    """Refuse repositories without safetensors before anything is downloaded."""
    if any(Path(name).name == WEIGHTS for name in names):
        return
    pickled = sorted(name for name in names if Path(name).suffix in PICKLES)
    why = f", only pickled weights ({pickled[0]}), which can run code when loaded" if pickled else ""
    raise CheckpointError(
        f"{request.repo} offers no {WEIGHTS}{why}; choose another repository, or convert its weights "
        f"and pass their folder."
    )


def _failure(request: HubRequest, error: Exception) -> str:
    """Say why a download failed, and the mend."""
    from huggingface_hub import errors

    at = f" at revision {request.revision[:12]}" if request.revision else ""
    what = f"{request.repo}{at}"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{what} is gated: accept its terms on {endpoint()}/{request.repo}, then log in with 'hf auth "
            f"login' or set HF_TOKEN."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{endpoint()} has no revision '{request.revision}' of {request.repo}; pass 'main'."
    status = _status(error)
    unknown = isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError)
    if unknown or status in (401, 403, 404):
        return _not_found(request, status)
    reason = _reason(error, status)
    return (
        f"The weights of {what} are not in the cache ({cache_root(request.cache_dir)}) and {reason}; try "
        f"again, set HF_ENDPOINT to a mirror, or {_ELSEWHERE}."
    )


def _reason(error: Exception, status: int | None) -> str:
    """Say why files did not come, as far as the client tells."""
    said = str(error)
    if status is not None:
        return f"{endpoint()} answered with status {status}"
    if "onsistency check" in said or "peer closed" in said:
        return f"the connection to {endpoint()} broke off before a file was whole"
    if isinstance(error, OSError) or type(error).__module__.startswith("httpx"):
        return f"{endpoint()} cannot be reached"
    return f"downloading failed ({said.splitlines()[0][:120] if said else type(error).__name__})"


def _status(error: BaseException | None) -> int | None:
    """Find the HTTP status behind an error or its causes; None when no answer came at all."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return None


def _not_found(request: HubRequest, status: int | None) -> str:
    """Say that there is no such repository, or none for this user."""
    near = nearest(request.repo)
    guess = f"did you mean {near}?" if near and find(request.repo) is None else "check the name."
    private = ", or it is private and needs 'hf auth login' or HF_TOKEN" if status in (401, 403) else ""
    return f"{endpoint()} has no repository {request.repo}{private}; {guess}"


def _not_cached(request: HubRequest) -> str:
    at = f" at revision {request.revision[:12]}" if request.revision else ""
    other = cached_folder(replace(request, revision=None)) if request.revision else None
    mend = f"pass revision='main' to use the cached {revision_of(other)}" if other else _ELSEWHERE
    return (
        f"{request.repo}{at} is not in the cache ({cache_root(request.cache_dir)}) and the network is "
        f"switched off (KRONOS_OFFLINE, HF_HUB_OFFLINE or local_files_only); go online once, or {mend}."
    )


def _weights_in(folder: Path) -> list[Path]:
    """List the weights of a snapshot: its own, or those of a forecasting folder's two parts."""
    return [path for part in ("", "model", "tokenizer") if (path := folder / part / WEIGHTS).is_file()]


def _check_whole(weights: Path, request: HubRequest) -> None:
    """Take damaged weights out of the cache, where they would otherwise stay for good."""
    try:
        read_header(weights)
    except CheckpointError as error:
        _discard(weights)
        raise CheckpointError(
            f"The weights of {request.repo} in the cache ({cache_root(request.cache_dir)}) were damaged and "
            f"have been removed; run the same again to download them."
        ) from error


def _check_digest(weights: Path, request: HubRequest) -> None:
    """Hold downloaded weights to the known hash; take wrong ones out of the cache again."""
    if sha256_file(weights) == request.sha256:
        return
    _discard(weights)
    raise CheckpointError(
        f"{WEIGHTS} of {request.repo} from {endpoint()} is not the published file (its sha256 differs), so "
        f"it was deleted; try again, or check the mirror that HF_ENDPOINT names."
    )


def _discard(weights: Path) -> None:
    """Remove a file from the cache together with the blob it links to, or the client would link it again."""
    blob = weights.resolve()
    weights.unlink()
    blob.unlink(missing_ok=True)


def _progress_class(progress: ProgressCallback | None) -> type[Any]:
    """Make the bar class that the hub's client reports to: silent, and telling `progress` the bytes.

    The client keeps several bars (files, bytes received, bytes written). Those that count bytes count the
    same ones, so what is told is the furthest of them.
    """
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    base: Any = tqdm  # its methods are not annotated
    lock = threading.Lock()
    furthest = 0

    class Silent(base):  # type: ignore[misc]
        """A bar that never draws."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": True})
            self.n, self.total = kwargs.get("initial") or 0, kwargs.get("total")

        def update(self, n: float | None = 1) -> None:
            """Count, and tell."""
            nonlocal furthest
            with lock:
                self.n += n or 0
                if progress is not None and self._counts_bytes and self.total and self.n > furthest:
                    furthest = int(min(self.n, self.total))
                    progress(furthest, int(self.total))

    return Silent
