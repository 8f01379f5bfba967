"""What `kronos forecast` was asked to do, checked as far as it can be before anything heavy loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kronos.cli.model_loading import ModelArgs, SamplingArgs
from kronos.cli.options import FormatName, PaletteName, ThemeName
from kronos.errors import ParameterError, StorageError

TABLES = (".parquet", ".csv", ".json", ".npz")
PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class CandleArgs:
    """Which candles, and what is known about them better than they tell.

    Attributes:
        files: Files of candles.
        demo: Whether to take the simulated sample instead.
        symbols: One for each file; none leaves them to the files.
        interval: Length of a candle.
        timezone: IANA name.
        calendar: Trading calendar.
        as_of: The last time to be known: what comes after is hidden, then shown.
    """

    files: tuple[Path, ...]
    demo: bool
    symbols: tuple[str, ...]
    interval: str | None
    timezone: str | None
    calendar: str | None
    as_of: str | None

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ParameterError: If there is nothing to read, or two different things.
        """
        if self.demo and self.files:
            raise ParameterError("--demo forecasts the simulated sample; leave out either it or the files.")
        if not self.demo and not self.files:
            raise ParameterError("Give a file of candles, or --demo for the simulated sample that ships.")
        if self.symbols and len(self.symbols) != max(1, len(self.files)):
            raise ParameterError(
                f"There are {len(self.symbols)} --symbol for {max(1, len(self.files))} files; give one for each."
            )


@dataclass(frozen=True)
class CalibrationArgs:
    """Whether and by what the paths are calibrated.

    Attributes:
        own: Whether to take the calibration that ships with the model.
        file: A saved calibration instead.
        market: Whose factors to take; None leaves it to the calendar.
    """

    own: bool
    file: Path | None
    market: str | None

    def check(self) -> None:
        """Refuse what contradicts itself, or would change nothing.

        Raises:
            ParameterError: If two calibrations are asked for, or a market without one.
        """
        if self.own and self.file is not None:
            raise ParameterError("--calibrate takes the model's own calibration, --calibration another; leave one out.")
        if self.market is not None and not self.own and self.file is None:
            raise ParameterError("--market chooses a calibration's factors; add --calibrate, or --calibration FILE.")


@dataclass(frozen=True)
class OutputArgs:
    """What to write and print.

    Attributes:
        plot: Picture, or a folder for one a series.
        theme: Of pictures.
        palette: Of pictures.
        output: Table; its ending tells the format.
        format: Quantiles by step, or every path.
        json: Whether stdout gets one JSON document.
        verbose: Whether to list findings and how the forecast was made.
        quiet: Whether to print nothing but errors.
    """

    plot: Path | None
    theme: ThemeName
    palette: PaletteName
    output: Path | None
    format: FormatName
    json: bool
    verbose: bool
    quiet: bool

    def check(self) -> None:
        """Refuse endings and targets that nothing can be written to.

        Raises:
            ParameterError: If an ending is unknown, or options contradict each other.
            StorageError: If the table's target is a folder.
        """
        if self.verbose and self.quiet:
            raise ParameterError("-v and -q contradict each other; leave one out.")
        if self.output is not None:
            _check_ending("--output", self.output, TABLES)
            if self.output.is_dir():
                raise StorageError(f"Cannot write {self.output}: a folder of that name exists; choose another name.")
        if self.plot is not None and not self.plots_into_folder:
            _check_ending("--plot", self.plot, PICTURES)

    @property
    def plots_into_folder(self) -> bool:
        """Whether ``--plot`` names a folder: one that exists, or a name without an ending."""
        return self.plot is not None and (self.plot.is_dir() or not self.plot.suffix)

    @property
    def chatty(self) -> bool:
        """Whether stderr tells the way there."""
        return not self.quiet


@dataclass(frozen=True)
class ForecastArgs:
    """All of it."""

    reading: CandleArgs
    sampling: SamplingArgs
    correcting: CalibrationArgs
    machine: ModelArgs
    showing: OutputArgs


def _check_ending(option: str, path: Path, endings: tuple[str, ...]) -> None:
    if path.suffix.lower() not in endings:
        known = ", ".join(endings[:-1]) + f" or {endings[-1]}"
        raise ParameterError(f"{option} {path.name} has no ending that says what to write; use {known}.")
