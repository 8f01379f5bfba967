"""Settings from the environment (``KRONOS_…``), typed and checked.

- Priority: defaults < environment < what the caller passes; command-line flags are what the command line
  passes.
- Read afresh at each call: nothing is remembered, so a test or a notebook can change the environment.
- pydantic loads only here; import this module inside the functions that use it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

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


def _blank_is_unset(value: Any) -> Any:
    """Treat an empty variable (``KRONOS_DEVICE=``) as one that is not set."""
    return None if isinstance(value, str) and not value.strip() else value


def _at_home(path: Path) -> Path:
    """A path with the home folder for its ``~``; one of nobody's is left as it is, as shells leave it."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises where there is no such user)


OptionalText = Annotated[str | None, BeforeValidator(_blank_is_unset)]
OptionalCount = Annotated[int | None, Field(ge=1), BeforeValidator(_blank_is_unset)]
OptionalPath = Annotated[
    Path | None,
    AfterValidator(lambda path: _at_home(path) if path is not None else None),
    BeforeValidator(_blank_is_unset),
]


class SourceSettings(BaseModel):
    """How to reach one source of candles: ``KRONOS_SOURCES__OKX__PROXY=http://127.0.0.1:8080``.

    Attributes:
        base_url: Scheme and host to use instead of the source's own (a mirror, a gateway, a test server).
        proxy: HTTP or SOCKS proxy, as a URL; None uses the usual ``HTTPS_PROXY`` variables.
        timeout: Seconds to wait for one answer.
        attempts: How often one request is tried before giving up.
        patience: Seconds after which one request is given up, whatever the attempts left.
        backoff: Seconds before a request that failed is first repeated; later repetitions wait longer.
        market: The kind of market that a bare symbol means where an exchange has several.
        plan: CoinGecko's plan, which decides on its host and on hourly OHLC.
        api_key: Used when set, never needed; the source's usual variable (``OKX_API_KEY``) serves too.
        api_secret: As ``api_key``.
        api_passphrase: As ``api_key``.
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
    """How ``kronos serve`` serves: ``KRONOS_SERVE__PORT=8080``. Lists are written with commas.

    Attributes:
        host: Address to listen on; beyond this machine only with ``api_keys``.
        port: 0 takes any that is free.
        api_keys: Any of these opens the API; empty leaves it open, to this machine alone.
        allowed_hosts: Names by which clients may call the server, besides this machine's own and ``host``.
        origins: Web pages' origins that may call it from a browser, such as ``https://charts.example``.
        data_dir: The folder whose candle files the workbench lists and reads.
        state_dir: The only folder that the server writes to: uploads and saved results.
        assets: Symbols of the prediction API; ``BTC=XBT/EUR`` says what the source calls one.
        quote: What a bare symbol is priced in.
        interval: Of the prediction API's candles; None for 1h, or the next longer one that the source has.
        samples: Paths of a prediction.
        seed: Of a prediction's draws: the same candles always give the same answer.
        calibrate: Whether predictions are corrected by the calibration that ships with the model, where one does.
        timeout: Seconds after which a request is given up.
        queue: Forecasts that may wait; more are turned away with 503.
        batch: Waiting forecasts that are computed together, at most.
        requests_per_minute: Of one client; 0 for no limit, None for 600 where keys are needed and no limit elsewhere.
        work_per_minute: Path-steps (samples × horizon) that one client may have computed; 0 for no limit.
        streams: Event streams that may be open at once.
        upload_mb: Largest upload, in 10⁶ bytes.
        upload_rows: Most rows of a file, however small it is packed.
        parse_memory_mb: Memory that reading one file may take.
        parse_seconds: Seconds that reading one file may take.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 5000
    api_keys: SecretStr = SecretStr("")
    allowed_hosts: str = ""
    origins: str = ""
    data_dir: Annotated[Path, AfterValidator(_at_home)] = Path("data")
    state_dir: Annotated[Path, AfterValidator(_at_home)] = Path("outputs") / "serve"
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
    upload_mb: Annotated[int, Field(ge=1, le=1000)] = 64
    upload_rows: Annotated[int, Field(ge=1, le=5_000_000)] = 1_000_000
    parse_memory_mb: Annotated[int, Field(ge=256)] = 2048
    parse_seconds: Annotated[float, Field(gt=0)] = 30.0

    @staticmethod
    def words(text: str) -> tuple[str, ...]:
        """The parts of a list that is written with commas."""
        return tuple(word.strip() for word in text.split(",") if word.strip())

    @property
    def keys(self) -> tuple[str, ...]:
        """The API keys in the clear."""
        return self.words(self.api_keys.get_secret_value())


class Settings(BaseSettings):
    """What may be set once for every command and session.

    Attributes:
        model: Zoo name, hub id or folder to use when none is asked for; None means the bundled model.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None picks the best there is.
        tokenizer: Another tokenizer than the one that belongs to ``model``; used by ``kronos serve``.
        cache_dir: Where downloaded checkpoints lie; None means the hub's own cache (``HF_HOME``).
        offline: Never use the network.
        threads: CPU threads to use; None leaves it to torch.
        precision: ``exact`` (float32) or ``fast`` (bfloat16 where the hardware gains).
        source: Where candles come from: ``okx``, ``binance``, ``files:FOLDER``, ``simulated`` …; None leaves it to the
            command.
        store_dir: Where downloaded candles are kept; None means ``data/candles`` in the working folder.
        output_dir: The folder in which each prepared dataset gets its own.
        timeframes: Timeframes of datasets, ``4H,1D``.
        records_per_tf: Candles of each symbol and timeframe of a dataset.
        sources: How to reach sources of candles, by their name.
        serve: How the server serves.
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
        overrides: Values that win over the environment, by field name; those that are None do not count.

    Returns:
        The checked settings.

    Raises:
        ParameterError: If a name is unknown (the nearest one is suggested) or a value out of its range.
    """
    given: dict[str, Any] = {name: value for name, value in (overrides or {}).items() if value is not None}
    for name in given:
        if name not in Settings.model_fields:
            raise ParameterError(_unknown(name))
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ParameterError(_sentence(error, given)) from error
    except SettingsError as error:
        group, one = ("SERVE", "PORT") if '"serve"' in str(error) else ("SOURCES", "OKX__TIMEOUT")
        mend = f"it has to be JSON, or one variable for each, such as KRONOS_{group}__{one}"
        raise ParameterError(f"The setting KRONOS_{group} cannot be read: {mend}.") from error


def _unknown(name: str) -> str:
    """Say that a setting does not exist, and which one may have been meant."""
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    mend = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(Settings.model_fields)}."
    return f"There is no setting '{name}'; {mend}"


def _sentence(error: ValidationError, given: Mapping[str, object]) -> str:
    """Say the first thing that is wrong, by the name under which the user set it."""
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]] or ["settings"]
    name = ".".join(loc) if loc[0] in given else f"KRONOS_{'__'.join(loc).upper()}"
    if first["type"] == "extra_forbidden":
        fields = (ServeSettings if loc[0] == "serve" else SourceSettings).model_fields
        near = difflib.get_close_matches(loc[-1], fields, n=1)
        mend = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(fields)}."
        return f"There is no setting {name}; {mend}"
    expected = first["msg"][0].lower() + first["msg"][1:]
    given_as = "what it is" if any(part.startswith("api_") for part in loc) else repr(first["input"])
    return f"The setting {name} cannot be {given_as}: {expected}."
