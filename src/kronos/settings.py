"""Settings from environment variables (``KRONOS_…``), typed and validated.

Priority: defaults < environment < arguments of the caller (the command line passes its flags). Settings are read again
at each call, so a test or a notebook can change the environment. This module loads pydantic: import it inside the
functions that use it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from kronos.errors import ParameterError
from kronos.formatting import expand_user


def _blank_is_unset(value: Any) -> Any:
    """Treat an empty variable (``KRONOS_DEVICE=``) as unset."""
    return None if isinstance(value, str) and not value.strip() else value


PublicPart = Literal["docs", "udf"]
OptionalText = Annotated[str | None, BeforeValidator(_blank_is_unset)]
OptionalCount = Annotated[int | None, Field(ge=1), BeforeValidator(_blank_is_unset)]
OptionalPath = Annotated[
    Path | None,
    AfterValidator(lambda path: expand_user(path) if path is not None else None),
    BeforeValidator(_blank_is_unset),
]


class SourceSettings(BaseModel):
    """Connection to one source of candles, such as ``KRONOS_SOURCES__OKX__PROXY=http://127.0.0.1:8080``.

    Attributes:
        base_url: Scheme and host to use instead of the source's own (a mirror, a gateway, a test server).
        proxy: URL of an HTTP or SOCKS proxy; None uses the ``HTTPS_PROXY`` variables.
        timeout: Timeout of one request, in seconds.
        attempts: Attempts per request.
        patience: Time limit of one request including its retries, in seconds.
        backoff: Delay before the first retry, in seconds; later delays are longer.
        market: Market type of a bare symbol on exchanges with several.
        plan: CoinGecko plan; it determines the host and whether hourly OHLC is available.
        api_key: Optional API key; the source's own variable (``OKX_API_KEY``) is read too.
        api_secret: Optional API secret.
        api_passphrase: Optional API passphrase.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: OptionalText = None
    proxy: OptionalText = None
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 20.0
    attempts: Annotated[int, Field(ge=1)] = 8
    patience: Annotated[float, Field(gt=0)] = 300.0
    backoff: Annotated[float, Field(ge=0, le=86_400)] = 0.5
    market: Literal["spot", "swap"] = "spot"
    plan: Literal["demo", "pro"] = "demo"
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    api_passphrase: SecretStr | None = None


class ServeSettings(BaseModel):
    """Settings of ``kronos serve``, such as ``KRONOS_SERVE__PORT=8080``. Lists are separated by commas.

    Attributes:
        host: Address to listen on; addresses other than this machine's require ``api_keys``.
        port: Port to listen on; 0 picks a free one.
        api_keys: Accepted API keys; if empty, the API is open to this machine only.
        public: Parts of the API that need no key, for browsers: ``docs``, ``udf``.
        root_path: Path prefix under which a reverse proxy serves the API, such as ``/kronos``.
        keep_alive: Seconds after which an idle connection is closed; choose more than the reverse proxy's.
        connections_per_client: Maximum number of open connections of one address; beyond, idle ones are closed.
        allowed_hosts: Host names that clients may use, in addition to this machine's names and ``host``.
        origins: Origins of web pages that may call the API from a browser, such as ``https://charts.example``.
        data_dir: Folder of the candle files that the workbench lists and reads.
        state_dir: Folder for uploads and saved results; the server writes to no other folder.
        assets: Symbols of the prediction API; ``BTC=XBT/EUR`` sets the source's symbol for one.
        quote: Quote currency of symbols that name none.
        interval: Interval of the prediction API's candles; None for 1h, or the next longer one that the source offers.
        samples: Sample paths per prediction.
        seed: Random seed of predictions; the same candles always give the same prediction.
        calibrate: Whether to apply the calibration that is bundled with the model, if there is one.
        timeout: Time limit of a request, in seconds.
        queue: Maximum number of waiting forecasts of one client; further requests get status 503.
        batch: Maximum number of waiting forecasts to compute together.
        requests_per_minute: Requests per client and minute; 0 for no limit, None for 600 if API keys are set.
        work_per_minute: Path-steps (samples × horizon) per client and minute; 0 for no limit.
        streams: Maximum number of open event streams.
        streams_per_client: Maximum number of open event streams of one client.
        upload_mb: Maximum size of an upload, in megabytes (10⁶ bytes).
        upload_rows: Maximum number of rows of a file.
        results_mb: Maximum size of all saved results together, in megabytes.
        parse_memory_mb: Memory limit for reading one file, in megabytes.
        parse_seconds: Time limit for reading one file, in seconds.
        warm_reader: Whether to keep a process ready for the next file, about 130 MB of memory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 5000
    api_keys: SecretStr = SecretStr("")
    public: Annotated[str, AfterValidator(lambda text: _check_public(text))] = ""
    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    keep_alive: Annotated[float, Field(gt=0, le=86_400)] = 75.0
    connections_per_client: Annotated[int, Field(ge=1)] = 1000
    allowed_hosts: str = ""
    origins: str = ""
    data_dir: Annotated[Path, AfterValidator(expand_user)] = Path("data")
    state_dir: Annotated[Path, AfterValidator(expand_user)] = Path("outputs") / "serve"
    assets: str = "BTC,ETH,DOT,SOL,ADA,MATIC,LINK,AVAX"
    quote: str = "USDT"
    interval: OptionalText = None
    samples: Annotated[int, Field(ge=1, le=1000)] = 100
    seed: Annotated[int, Field(ge=0)] = 0
    calibrate: bool = True
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    queue: Annotated[int, Field(ge=1)] = 64
    batch: Annotated[int, Field(ge=1)] = 32
    requests_per_minute: Annotated[int | None, Field(ge=0), BeforeValidator(_blank_is_unset)] = None
    work_per_minute: Annotated[int, Field(ge=0)] = 600_000
    streams: Annotated[int, Field(ge=1)] = 64
    streams_per_client: Annotated[int, Field(ge=1)] = 32
    upload_mb: Annotated[int, Field(ge=1, le=1000)] = 64
    upload_rows: Annotated[int, Field(ge=1, le=5_000_000)] = 1_000_000
    results_mb: Annotated[int, Field(ge=1)] = 2000
    parse_memory_mb: Annotated[int, Field(ge=256)] = 2048
    parse_seconds: Annotated[float, Field(gt=0)] = 30.0
    warm_reader: bool = True

    @staticmethod
    def split_list(text: str) -> tuple[str, ...]:
        """Split a comma-separated list."""
        return tuple(part.strip() for part in text.split(",") if part.strip())

    @property
    def public_parts(self) -> tuple[PublicPart, ...]:
        """The parts of the API that need no key."""
        given = self.split_list(self.public.lower())
        return tuple(part for part in get_args(PublicPart) if part in given)

    @property
    def keys(self) -> tuple[str, ...]:
        """The API keys in plain text."""
        return self.split_list(self.api_keys.get_secret_value())


class Settings(BaseSettings):
    """Settings shared by all commands and sessions.

    Attributes:
        model: Zoo name, hub id or folder of the default model; None uses the bundled model.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; None picks the best one available.
        tokenizer: Tokenizer for ``kronos serve``, if not the one that ``model`` was trained with.
        cache_dir: Folder for downloaded checkpoints; None uses the hub's own cache (``HF_HOME``).
        offline: Never use the network.
        threads: CPU threads to use; None leaves the choice to torch.
        precision: ``exact`` (float32) or ``fast`` (bfloat16 if the hardware gains from it).
        cuda_graphs: Whether to decode with CUDA graphs on a GPU with CUDA.
        source: Source of candles: ``okx``, ``binance``, ``files:FOLDER``, ``simulated`` …; None uses the command's
            default.
        store_dir: Folder for downloaded candles; None uses ``data/candles`` in the working folder.
        output_dir: Folder that holds one subfolder for each prepared dataset.
        timeframes: Timeframes of datasets, such as ``4H,1D``.
        records_per_tf: Candles per symbol and timeframe of a dataset.
        sources: Connections to sources of candles, by source name.
        serve: Settings of the server.
    """

    model_config = SettingsConfigDict(
        env_prefix="KRONOS_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    model: OptionalText = None
    device: OptionalText = None
    tokenizer: OptionalText = None
    cache_dir: OptionalPath = None
    offline: bool = False
    threads: OptionalCount = None
    precision: Literal["exact", "fast"] = "exact"
    cuda_graphs: bool = True
    source: OptionalText = None
    store_dir: OptionalPath = None
    output_dir: OptionalPath = None
    timeframes: OptionalText = None
    records_per_tf: OptionalCount = None
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    serve: ServeSettings = Field(default_factory=ServeSettings)


def get_settings(overrides: Mapping[str, object] | None = None) -> Settings:
    """Read the settings.

    Args:
        overrides: Values that take precedence over the environment, by field name; None is ignored.

    Raises:
        ParameterError: If a name is unknown or a value is out of range.
    """
    given: dict[str, Any] = {name: value for name, value in (overrides or {}).items() if value is not None}
    for name in given:
        if name not in Settings.model_fields:
            raise ParameterError(_unknown_setting(name, Settings.model_fields, f"'{name}'"))
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ParameterError(_describe(error, given)) from error
    except SettingsError as error:
        group, example = ("SERVE", "PORT") if '"serve"' in str(error) else ("SOURCES", "OKX__TIMEOUT")
        raise ParameterError(
            f"The setting KRONOS_{group} cannot be read: it has to be JSON; or set one variable for each value, such "
            f"as KRONOS_{group}__{example}."
        ) from error


def _check_public(text: str) -> str:
    unknown = set(ServeSettings.split_list(text.lower())) - set(get_args(PublicPart))
    if unknown:
        raise ValueError(f"choose docs or udf instead of {', '.join(sorted(unknown))}")
    return text


def _unknown_setting(name: str, fields: Iterable[str], shown: str) -> str:
    """Message for an unknown setting, with the closest field or all of them."""
    near = difflib.get_close_matches(name, fields, n=1)
    fix = f"did you mean '{near[0]}'?" if near else f"the settings are {', '.join(fields)}."
    return f"There is no setting {shown}; {fix}"


def _describe(error: ValidationError, given: Mapping[str, object]) -> str:
    """Message for the first error, with the argument or variable that set the value; keys are not shown."""
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]] or ["settings"]
    name = ".".join(loc) if loc[0] in given else f"KRONOS_{'__'.join(loc).upper()}"
    if first["type"] == "extra_forbidden":
        return _unknown_setting(loc[-1], (ServeSettings if loc[0] == "serve" else SourceSettings).model_fields, name)
    expected = first["msg"][0].lower() + first["msg"][1:]
    value = "" if any(part.startswith("api_") for part in loc) else f" {first['input']!r}"
    return f"Invalid value{value} for the setting {name}: {expected}."
