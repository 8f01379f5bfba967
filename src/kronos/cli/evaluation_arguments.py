"""What `kronos evaluate` and `kronos calibrate` are asked: which candles, dates, origins, models, and how much work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.cli.model_loading import SamplingArgs
from kronos.cli.options import PartName, PrecisionName
from kronos.errors import ParameterError, StorageError

if TYPE_CHECKING:
    from kronos.evaluation import RollingSettings, WalkForward

_RUN = "run"  # the folder in the output folder that keeps forecasts


@dataclass(frozen=True)
class InputArgs:
    """Which candles; None leaves it to the files.

    Attributes:
        paths: Files, folders, prepared datasets.
        market: Of all of them.
        interval: Of all of them.
        timezone: Of all of them.
        strict: Whether a file that cannot be read ends everything.
    """

    paths: tuple[str, ...]
    market: str | None
    interval: str | None
    timezone: str | None
    strict: bool


@dataclass(frozen=True)
class DateArgs:
    """Which dates: two times, or a part of a split.

    Attributes:
        start: No candle before it is forecast.
        end: No candle from it on is forecast.
        part: Of the split, or of prepared datasets; None for the test, if there is one.
        splits: The file that tells the dates by market; None for the one beside the candles.
    """

    start: str | None
    end: str | None
    part: PartName | None
    splits: Path | None

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ParameterError: If both times and a part are given, or a time is none.
        """
        if (self.start or self.end) and (self.part or self.splits):
            raise ParameterError(
                "--from and --to name the dates, --part and --splits too; leave out the one or the other."
            )


@dataclass(frozen=True)
class OriginArgs:
    """How origins are chosen; see `kronos.evaluation.WalkForward`."""

    horizon: int
    stride: int | None
    lookback: int | None
    most: int | None

    def walk(self) -> WalkForward:
        """The same for `make_plan`."""
        from kronos.evaluation import WalkForward

        if self.lookback is not None and self.lookback < 1:
            raise ParameterError(f"The lookback is at least 1 candle, not {self.lookback}.")
        return WalkForward(self.horizon, stride=self.stride, lookback=self.lookback, most=self.most)


@dataclass(frozen=True)
class ContenderModelArgs:
    """Which models, how they draw, and where they compute.

    Attributes:
        refs: Zoo names, hub ids or folders; none for the one that ``KRONOS_MODEL`` or the package names.
        tokenizer: Another one than the models' own.
        sampling: How paths are drawn.
        device: Such as ``cpu`` or ``cuda:1``.
        precision: ``exact`` or ``fast``.
    """

    refs: tuple[str, ...]
    tokenizer: str | None
    sampling: SamplingArgs
    device: str | None
    precision: PrecisionName | None


@dataclass(frozen=True)
class RunArgs:
    """How much is drawn, by how many, and where it is kept.

    Attributes:
        samples: Paths of each forecast.
        seed: Of the draws.
        workers: Processes; None for one a core.
        output: The folder of everything that is written.
        fresh: Whether to forget what an earlier run has left.
    """

    samples: int
    seed: int
    workers: int | None
    output: Path
    fresh: bool

    @property
    def folder(self) -> Path:
        """Where forecasts are kept."""
        return self.output / _RUN

    def settings(self) -> RollingSettings:
        """The same for `run`."""
        from kronos.evaluation import RollingSettings

        return RollingSettings(self.samples, self.seed)

    def prepare(self) -> None:
        """Make sure that the output can be a folder, and forget an earlier run if that is wanted.

        Raises:
            StorageError: If it is a file, or cannot be removed.
            ParameterError: If what is to be removed is no run.
        """
        if self.output.exists() and not self.output.is_dir():
            raise StorageError(f"Cannot write into {self.output}: it is a file; choose another folder.")
        if self.fresh:
            from kronos.evaluation.rolling import discard_run

            discard_run(self.folder)
