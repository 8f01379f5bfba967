"""Choose and load the model of a command, with progress while it downloads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.cli.console import spinner, stderr
from kronos.cli.options import PrecisionName
from kronos.errors import ParameterError
from kronos.formatting import expand_user, short_count
from kronos.progress import is_interactive, progress_bar
from kronos.zoo import DEFAULT_MODEL, CatalogEntry, checkpoint_name, closest_name, download, find_cached, find_entry
from kronos.zoo.checkpoint import CONFIG, RECORD, WEIGHTS

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor, SamplingParams
    from kronos.settings import Settings


@dataclass(frozen=True)
class ModelArgs:
    """Model and device; None leaves a value to the environment.

    Attributes:
        model: Zoo name, hub id or folder.
        tokenizer: Another tokenizer than the model's own.
        device: Device such as ``cpu`` or ``cuda:1``.
        precision: ``exact`` or ``fast``.
        threads: CPU threads.
    """

    model: str | None
    tokenizer: str | None
    device: str | None
    precision: PrecisionName | None
    threads: int | None


@dataclass(frozen=True)
class SamplingArgs:
    """How to sample; None leaves a value to the preset.

    Attributes:
        horizon: Candles to forecast.
        samples: Number of sample paths.
        seed: Random seed.
        preset: Sampling preset.
        temperature: Sampling temperature.
        top_p: Total probability of the tokens to sample from.
        top_k: Number of tokens to sample from.
        lookback: Maximum number of candles of history.
    """

    horizon: int
    samples: int | None
    seed: int | None
    preset: str
    temperature: float | None
    top_p: float | None
    top_k: int | None
    lookback: int | None


@dataclass(frozen=True)
class ModelChoice:
    """The model to load.

    Attributes:
        ref: Zoo name, hub id or folder.
        tokenizer: Another tokenizer than the model's own, or None.
        settings: Settings from options and environment.
        announcement: Line that names the model; None if an option named it.
    """

    ref: str
    tokenizer: str | None
    settings: Settings
    announcement: str | None

    @property
    def title(self) -> str:
        """Name to show: of a folder the name that its training recorded, else its last part."""
        return checkpoint_name(Path(self.ref)) if Path(self.ref).is_dir() else self.ref

    @property
    def entry(self) -> CatalogEntry | None:
        """Catalog entry; None for folders and hub ids that are not in the catalog."""
        return None if Path(self.ref).is_dir() else find_entry(self.ref)


def choose(args: ModelArgs) -> ModelChoice:
    """Choose the model of the options, else of ``KRONOS_MODEL``, else the bundled one.

    Raises:
        ParameterError: If a setting is out of range, or a name is unknown.
    """
    from kronos.settings import get_settings

    settings = get_settings(
        {"model": args.model, "device": args.device, "threads": args.threads, "precision": args.precision}
    )
    for ref in (settings.model, args.tokenizer):
        if ref is not None:
            check_name(ref)
    announcement = None
    if settings.model is None:
        announcement = f"Model: {_bundled_title()}; 'kronos models show {DEFAULT_MODEL}' has its scores."
    elif args.model is None:
        announcement = f"Model: {settings.model} (KRONOS_MODEL)."
    return ModelChoice(settings.model or DEFAULT_MODEL, args.tokenizer, settings, announcement)


def _bundled_title() -> str:
    entry = find_entry(DEFAULT_MODEL)
    if entry is None:
        return f"{DEFAULT_MODEL} (bundled)"
    return f"{DEFAULT_MODEL} (bundled, {short_count(entry.parameters)} parameters, trained by this project)"


def check_name(ref: str) -> None:
    """Check that a reference is a folder, a zoo name or a hub id.

    Raises:
        ParameterError: If it is not; the message suggests the nearest name.
    """
    if expand_user(ref).exists() or find_entry(ref) is not None or "/" in ref or "\\" in ref:
        return
    if ref.lower() == DEFAULT_MODEL:
        return  # its files are missing; loading it raises the better error
    raise unknown_checkpoint(ref)


def model_files(ref: str | None) -> list[Path]:
    """Return the files that loading a model from a folder reads; none for other references."""
    folder = expand_user(ref or "")
    if not ref or not folder.is_dir():
        return []
    return [folder / part / name for part in ("", "model", "tokenizer") for name in (CONFIG, WEIGHTS, RECORD)]


def unknown_checkpoint(name: str) -> ParameterError:
    """Return the error for an unknown name, with the nearest one."""
    near = closest_name(name)
    hint = f"did you mean {near}?" if near else "'kronos models list' lists them."
    return ParameterError(f"Unknown checkpoint '{name}'; {hint}")


def load(choice: ModelChoice, *, show_progress: bool) -> KronosPredictor:
    """Load a model, after downloading it if necessary.

    Raises:
        CheckpointError: If the weights are missing or damaged.
        DeviceError: If the device is not available.
    """
    settings = choice.settings
    _download_if_missing(choice, show_progress=show_progress)
    with spinner(f"Loading {choice.title}", enabled=show_progress):
        from kronos.inference import KronosPredictor

        return KronosPredictor.from_pretrained(
            choice.ref,
            tokenizer=choice.tokenizer,
            device=settings.device,
            precision=settings.precision,
            cuda_graphs=settings.cuda_graphs,
            local_files_only=settings.offline,
        )


def _download_if_missing(choice: ModelChoice, *, show_progress: bool) -> None:
    entry = choice.entry
    if expand_user(choice.ref).is_dir() or (entry is not None and _needs_no_download(entry)):
        return
    if not choice.settings.offline:
        download_with_progress(choice.ref, show_progress=show_progress)


def _needs_no_download(entry: CatalogEntry) -> bool:
    """Whether model and tokenizer are cached, or cannot be downloaded: loading then raises the better error."""
    tokenizer = find_entry(entry.tokenizer) if entry.tokenizer else None
    if not entry.published and not entry.bundled:
        return True
    return find_cached(entry) is not None and (tokenizer is None or find_cached(tokenizer) is not None)


def download_with_progress(ref: str, *, show_progress: bool, force: bool = False) -> tuple[Path, ...]:
    """Download a checkpoint and, for a model, its tokenizer, with a progress bar on stderr.

    Returns:
        The folders, the checkpoint's own first.

    Raises:
        CheckpointError: If it cannot be downloaded.
    """
    with progress_bar(f"Downloading {ref}", enabled=show_progress, show_bytes=True) as progress:
        folders = tuple(located.folder for located in download(ref, progress=progress, force=force))
    if show_progress and is_interactive():
        stderr().print(f"{ref} downloaded.", style="dim", markup=False)
    return folders


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Set the number of PyTorch's CPU threads during a block; None leaves it unchanged."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sampling_params(args: SamplingArgs) -> SamplingParams:
    """Return the sampling parameters of the preset, overridden by the arguments.

    Raises:
        ParameterError: If the preset is unknown, or a value is out of range.
    """
    from kronos.inference import SamplingParams

    preset = SamplingParams.resolve(args.preset, args.samples, args.seed)
    return replace(
        preset,
        temperature=preset.temperature if args.temperature is None else args.temperature,
        top_p=preset.top_p if args.top_p is None else args.top_p,
        top_k=preset.top_k if args.top_k is None else args.top_k,
    )
