"""Configuration of the live forecaster: defaults < YAML file < ``KRONOS_LIVE__…`` variables < options."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator

from kronos.baselines import BASELINES
from kronos.datasets.config import Section
from kronos.datasets.config_errors import format_validation_error
from kronos.datasets.config_loading import read_yaml
from kronos.errors import ParameterError
from kronos.formatting import expand_user, join_names
from kronos.intervals import Interval

PROFILES = ("development", "production")
DEFAULT_FILE = Path("config.yaml")
_PREFIX = "KRONOS_LIVE__"
_LONGEST_HORIZON = 480


def _as_list(value: Any) -> Any:
    """Accept one name, a list, or names separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("a name is repeated")
    return names


def _interval(value: str) -> str:
    interval = Interval.parse(value)
    if interval.seconds < 60:
        raise ValueError("choose an interval of at least a minute, such as 5m, 1h or 1d")
    return str(interval)


def _file_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("use letters, digits, '.', '_' and '-'")
    return value


def _page_name(value: str) -> str:
    if not value.endswith(".html"):
        raise ValueError("use a name that ends in .html")
    return value


def _chart_name(value: str) -> str:
    if not value.endswith(".png"):
        raise ValueError("use a name that ends in .png")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1), AfterValidator(_distinct)]
Folder = Annotated[Path, AfterValidator(expand_user)]
FileName = Annotated[str, AfterValidator(_file_name)]


class ModelSection(Section):
    """The models; each makes a series of its own for each symbol.

    Attributes:
        model_name: Zoo names, hub ids or folders; or baselines, such as ``garch-t``.
        tokenizer_name: Tokenizer, if not the one that belongs to the model.
        model_path: Folder that holds the models' folders; None for the hub's cache.
        max_context: Longest window of history and forecast; None for the model's own.
        device: ``cpu``, ``cuda`` or ``mps``; None for the best one available.
        engine: Where forecasts are computed: ``local``, this machine, or ``ray``, a Ray cluster.
        workers: Processes, or actors of Ray, that a cycle starts; None for 1, or Ray's default.
    """

    model_name: Names = ("kronos-nano",)
    tokenizer_name: str | None = None
    model_path: Folder | None = None
    max_context: Annotated[int | None, Field(ge=2)] = None
    device: str | None = None
    engine: Literal["local", "ray"] = "local"
    workers: Annotated[int | None, Field(ge=1)] = None


class SamplingSection(Section):
    """How paths are sampled; a calibration applies only to the sampling that it was fitted for.

    Attributes:
        temperature: Sampling temperature.
        top_p: Probability mass of the tokens to sample from.
        num_samples: Paths per forecast.
        seed: Random seed; each origin has its own, derived from it.
    """

    temperature: Annotated[float, Field(ge=0.1, le=2.0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    num_samples: Annotated[int, Field(ge=2, le=1000)] = 30
    seed: Annotated[int, Field(ge=0)] = 0


class DataSection(Section):
    """Candles.

    Attributes:
        source: Sources in order: where one fails, the next one is used.
        symbol: Symbols; each makes a series of its own for each model.
        interval: Interval of the candles.
        history_window: Candles of history for a forecast.
        forecast_horizon: Candles to forecast.
        volatility_window: Latest returns whose volatility the forecast's is compared with.
        simulated_fallback: Whether a page without any source shows simulated candles, labelled; they are never
            recorded.
        replay_start: First time of a replay's clock; None for its end.
    """

    source: Names = ("binance", "okx", "kraken")
    symbol: Names = ("BTCUSDT",)
    interval: Annotated[str, AfterValidator(_interval)] = "1h"
    history_window: Annotated[int, Field(ge=32, le=10_000)] = 360
    forecast_horizon: Annotated[int, Field(ge=2, le=_LONGEST_HORIZON)] = 24
    volatility_window: Annotated[int, Field(ge=2, le=10_000)] = 24
    simulated_fallback: bool = True
    replay_start: str | None = None

    @property
    def records(self) -> int:
        """Candles to fetch, so that the volatility window is whole whatever the model uses."""
        return max(self.history_window, self.forecast_horizon) + self.volatility_window


class OutputSection(Section):
    """The page.

    Attributes:
        folder: Folder of the page and its files.
        web_server_port: Port of ``kronos live serve``.
        chart_filename: File name of the chart.
        html_filename: File name of the page.
        language: Language of the page; the other one is linked.
        palette: ``green-up``, ``red-up`` or ``colour-blind``; None for the language's usual one.
        publish: ``none``, or ``git`` to commit and push the folder after each cycle.
        git_remote: Remote repository, for ``git``.
        git_branch: Branch, for ``git``.
    """

    folder: Folder = Path("outputs") / "live"
    web_server_port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    chart_filename: Annotated[FileName, AfterValidator(_chart_name)] = "prediction_chart.png"
    html_filename: Annotated[FileName, AfterValidator(_page_name)] = "index.html"
    language: Literal["en", "zh"] = "en"
    palette: Literal["green-up", "red-up", "colour-blind"] | None = None
    publish: Literal["none", "git"] = "none"
    git_remote: str | None = None
    git_branch: Annotated[str, AfterValidator(_file_name)] = "gh-pages"

    @model_validator(mode="after")
    def _check_remote(self) -> OutputSection:
        if self.publish == "git" and not self.git_remote:
            raise ValueError("publishing with git needs git_remote, the address of a repository")
        return self


class RecordSection(Section):
    """The record.

    Attributes:
        folder: Folder of the record and of the state of the process; nothing in it is published.
        url: Database: None for ``record.sqlite`` in the folder, or ``postgresql://…``.
        baselines: Baselines that are recorded and scored beside the model.
        late_after: Share of the first candle after which a forecast is late: shown, not scored.
        stop_after: Number of scored forecasts at which the verdict is final; None for a record without end.
        anchor_command: Command that receives the head of the record once a day, to be stored elsewhere.
        keep_forecasts: Number of full forecasts to keep as files; the record keeps the paths of all.
    """

    folder: Folder = Path("outputs") / "live-record"
    url: SecretStr | None = None
    baselines: Names = ("historical-volatility", "garch-t")
    late_after: Annotated[float, Field(gt=0, le=1)] = 0.25
    stop_after: Annotated[int | None, Field(ge=1)] = None
    anchor_command: tuple[str, ...] | None = None
    keep_forecasts: Annotated[int, Field(ge=1)] = 48

    @property
    def database(self) -> str:
        """URL or path of the database."""
        return str(self.folder / "record.sqlite") if self.url is None else self.url.get_secret_value()

    @model_validator(mode="after")
    def _check_baselines(self) -> RecordSection:
        unknown = [name for name in self.baselines if name not in BASELINES]
        if unknown:
            raise ValueError(f"there is no baseline {unknown[0]}: choose {join_names(list(BASELINES), None, 'or')}")
        return self


class ApiSection(Section):
    """Requests to sources.

    Attributes:
        timeout: Timeout of a request, in seconds.
        retries: Attempts per request; a failed cycle is tried again until the next candle closes.
    """

    timeout: Annotated[float, Field(gt=0, le=3600)] = 20.0
    retries: Annotated[int, Field(ge=1, le=100)] = 4


class LoggingSection(Section):
    """Messages of the process.

    Attributes:
        level: Least severe messages to print.
        json_lines: Whether to print JSON, one object per line.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool = False


class AlertsSection(Section):
    """Alerts by webhook; off without an address.

    Attributes:
        webhook: Address that receives a JSON object per alert.
        timeout: Timeout of a request, in seconds.
    """

    webhook: SecretStr | None = None
    timeout: Annotated[float, Field(gt=0, le=60)] = 10.0


class LiveConfig(Section):
    """The configuration of a live forecaster."""

    model: ModelSection = Field(default_factory=ModelSection)
    sampling: SamplingSection = Field(default_factory=SamplingSection)
    data: DataSection = Field(default_factory=DataSection)
    output: OutputSection = Field(default_factory=OutputSection)
    record: RecordSection = Field(default_factory=RecordSection)
    api: ApiSection = Field(default_factory=ApiSection)
    logging: LoggingSection = Field(default_factory=LoggingSection)
    alerts: AlertsSection = Field(default_factory=AlertsSection)

    @property
    def interval(self) -> Interval:
        """Interval of the candles."""
        return Interval.parse(self.data.interval)

    @model_validator(mode="after")
    def _check_folders(self) -> LiveConfig:
        output = self.output.folder.resolve()
        if self.record.folder.resolve().is_relative_to(output):
            raise ValueError("record.folder lies in output.folder, which is published: choose a folder outside of it")
        database = self.record.database
        path = database.removeprefix("sqlite:///")
        if "://" not in path and expand_user(path).resolve().is_relative_to(output):
            raise ValueError("record.url lies in output.folder, which is published: choose a folder outside of it")
        return self


def load_config(
    file: str | Path | None = None,
    *,
    profile: str | None = None,
    overrides: Mapping[tuple[str, str], Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> LiveConfig:
    """Load a configuration.

    Args:
        file: YAML file; by default ``config.yaml`` in the working folder, if it exists and no profile is given.
        profile: ``development`` or ``production``, the configurations that ship; a file's values override them.
        overrides: Values of options by section and key; None is ignored.
        environment: Variables; those named ``KRONOS_LIVE__DATA__SYMBOL`` and the like override the file.

    Raises:
        ParameterError: If a file is missing or invalid, a key is unknown, or a value is out of range.
    """
    values: dict[str, Any] = {}
    origin = "The configuration"
    if profile is not None:
        if profile not in PROFILES:
            raise ParameterError(f"Unknown profile '{profile}': choose {join_names(PROFILES, None, 'or')}.")
        values = read_yaml(profile_file(profile))
    if file is None and profile is None and DEFAULT_FILE.is_file():
        file = DEFAULT_FILE
    if file is not None:
        path = expand_user(file)
        if not path.is_file():
            raise ParameterError(f"There is no configuration file {file}: check its path, or use --profile.")
        origin = path.name
        values = _merge(values, read_yaml(path))
    values = _merge(values, _environment_values(environment))
    values = _merge(values, _nested(overrides or {}))
    try:
        return LiveConfig.model_validate(values)
    except ValidationError as error:
        raise ParameterError(format_validation_error(error, origin, LiveConfig)) from None


def profile_file(profile: str) -> Path:
    """Return the file of a profile that ships."""
    return Path(str(resources.files("kronos.live") / "profiles" / f"{profile}.yaml"))


def _environment_values(environment: Mapping[str, str]) -> dict[str, Any]:
    """Read the variables of the live forecaster, and the project's own for the model and its device."""
    shared = {("model", "model_name"): "KRONOS_MODEL", ("model", "device"): "KRONOS_DEVICE"}
    values = {key: environment[name] for key, name in shared.items() if environment.get(name, "").strip()}
    for name, value in environment.items():
        if name.upper().startswith(_PREFIX) and value.strip():
            section, _, key = name[len(_PREFIX) :].lower().partition("__")
            values[section, key] = value
    return _nested(values)


def _nested(values: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for (section, key), value in values.items():
        if value is None:
            continue
        if not key:
            nested[section] = value
        elif isinstance(known := nested.setdefault(section, {}), dict):  # else a section that is a value, and refused
            known[key] = value
    return nested


def _merge(base: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two levels of keys; later values win."""
    merged = dict(base)
    for name, value in update.items():
        known = merged.get(name)
        merged[name] = {**known, **value} if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged
