"""Which model, why that one, and having it here: with progress where it is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.atomic import expand_user
from kronos.cli.console import progress_bar, spinner, stderr, watched
from kronos.cli.options import PrecisionName
from kronos.errors import ParameterError
from kronos.zoo import DEFAULT_MODEL, CatalogEntry, cached, download, find, nearest

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor, SamplingParams
    from kronos.settings import Settings


@dataclass(frozen=True)
class ModelChoice:
    """The model to use.

    Attributes:
        ref: Zoo name, hub id or folder.
        tokenizer: Another tokenizer than its own, or None.
        settings: Everything that flags and environment say.
        announcement: What to tell people who didn't ask for this model; None if they did.
    """

    ref: str
    tokenizer: str | None
    settings: Settings
    announcement: str | None

    @property
    def title(self) -> str:
        """What to call it: a folder's name, not the way there."""
        return Path(self.ref).name if Path(self.ref).is_dir() else self.ref

    @property
    def entry(self) -> CatalogEntry | None:
        """Its catalogue entry, unless it is a folder or a stranger on the hub."""
        return None if Path(self.ref).is_dir() else find(self.ref)


def choose(machine: ModelArgs) -> ModelChoice:
    """Choose the model: the one asked for, else ``KRONOS_MODEL``, else the bundled one.

    Raises:
        ParameterError: If a setting is out of its range, or a name is no model's.
    """
    from kronos.settings import get_settings

    settings = get_settings(
        {"model": machine.model, "device": machine.device, "threads": machine.threads, "precision": machine.precision}
    )
    for ref in (settings.model, machine.tokenizer):
        if ref is not None:
            check_name(ref)
    announcement = None
    if settings.model is None:
        announcement = f"Model: {bundled_title()}; 'kronos models show {DEFAULT_MODEL}' tells how good it is."
    elif machine.model is None:
        announcement = f"Model: {settings.model} (KRONOS_MODEL)."
    return ModelChoice(settings.model or DEFAULT_MODEL, machine.tokenizer, settings, announcement)


def bundled_title() -> str:
    """The bundled model in one line: what it is and how small."""
    entry = find(DEFAULT_MODEL)
    if entry is None:
        return f"{DEFAULT_MODEL} (bundled)"
    size = short_count(entry.parameters)
    return f"{DEFAULT_MODEL} (bundled, {size} parameters, trained from scratch here)"


def short_count(number: int) -> str:
    """A count in three digits: ``24.7 M``."""
    return f"{number / 1e6:.3g} M" if number >= 1_000_000 else f"{number / 1e3:.3g} K"


def check_name(ref: str) -> None:
    """Refuse a name that means nothing: no folder, no zoo name, no hub id.

    Raises:
        ParameterError: With the nearest name.
    """
    if expand_user(ref).exists() or find(ref) is not None or "/" in ref or "\\" in ref:
        return
    if ref.lower() == DEFAULT_MODEL:
        return  # known, but its files are missing; whoever opens it says so
    near = nearest(ref)
    mend = f"did you mean {near}?" if near else "'kronos models list' shows them all."
    raise ParameterError(f"No checkpoint is called '{ref}'; {mend}")


def load(chosen: ModelChoice, *, wanted: bool) -> KronosPredictor:
    """Load a model, downloading it first where it must be.

    Args:
        chosen: The model.
        wanted: Whether to show progress.

    Raises:
        CheckpointError: If the weights can't be had.
        DeviceError: If the device is absent.
    """
    settings = chosen.settings
    _have(chosen, wanted=wanted)
    with spinner(f"Loading {chosen.title}", wanted=wanted):
        from kronos.inference import KronosPredictor

        return KronosPredictor.from_pretrained(
            chosen.ref,
            tokenizer=chosen.tokenizer,
            device=settings.device,
            precision=settings.precision,
            local_files_only=settings.offline,
        )


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with that many threads, and leave the setting as it was.

    Args:
        count: Of the processor; None leaves it to torch.
    """
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


def _have(chosen: ModelChoice, *, wanted: bool) -> None:
    """Download what isn't here, with progress; leave folders and what is here to the loader."""
    entry = chosen.entry
    if expand_user(chosen.ref).is_dir() or (entry is not None and _is_here(entry)):
        return
    if not chosen.settings.offline:
        download_shown(chosen.ref, wanted=wanted)


def _is_here(entry: CatalogEntry) -> bool:
    """Whether a model and its tokenizer need no download."""
    partner = find(entry.tokenizer) if entry.tokenizer else None
    if not entry.published and not entry.bundled:
        return True  # never published: the loader says so
    return cached(entry) is not None and (partner is None or cached(partner) is not None)


def download_shown(ref: str, *, wanted: bool, force: bool = False) -> tuple[Path, ...]:
    """Download a checkpoint and what it needs, with a bar where a person watches.

    Returns:
        The folders, the checkpoint's own first.

    Raises:
        CheckpointError: If it can't be had.
    """
    with progress_bar(f"Downloading {ref}", wanted=wanted, size=True) as progress:
        folders = tuple(located.folder for located in download(ref, progress=progress, force=force))
    if wanted and watched():
        stderr().print(f"{ref} is here.", style="dim", markup=False)
    return folders


@dataclass(frozen=True)
class ModelArgs:
    """Which model, and where it computes; None leaves it to the environment.

    Attributes:
        model: Zoo name, hub id or folder.
        tokenizer: Another tokenizer than the one that belongs to it.
        device: Such as ``cpu`` or ``cuda:1``.
        precision: ``exact`` or ``fast``.
        threads: Of the processor.
    """

    model: str | None
    tokenizer: str | None
    device: str | None
    precision: PrecisionName | None
    threads: int | None


@dataclass(frozen=True)
class SamplingArgs:
    """How paths are drawn; None leaves it to the preset.

    Attributes:
        horizon: Candles to forecast.
        samples: Paths of each series.
        seed: Of the draws.
        preset: Name of the parameters to start from.
        temperature: Divides the logits.
        top_p: Mass of the tokens kept.
        top_k: Number of tokens kept.
        lookback: Candles of history to use, at most.
    """

    horizon: int
    samples: int | None
    seed: int | None
    preset: str
    temperature: float | None
    top_p: float | None
    top_k: int | None
    lookback: int | None


def sampling_params(asked: SamplingArgs) -> SamplingParams:
    """The preset with what was asked for instead.

    Raises:
        ParameterError: If there is no such preset, or a value is out of its range.
    """
    from kronos.inference import SamplingParams

    preset = SamplingParams.of(asked.preset, asked.samples, asked.seed)
    return replace(
        preset,
        temperature=preset.temperature if asked.temperature is None else asked.temperature,
        top_p=preset.top_p if asked.top_p is None else asked.top_p,
        top_k=preset.top_k if asked.top_k is None else asked.top_k,
    )
