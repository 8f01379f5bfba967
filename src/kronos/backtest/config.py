"""Configuration of backtests: defaults < YAML file < ``KRONOS_BACKTEST__…`` variables < options."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from kronos.backtest.costs import MarketRules, TradingCosts, TradingRules
from kronos.backtest.qlib_dataset import History, QlibPeriods, Span
from kronos.backtest.signals import SIGNALS, SeenDays, SignalSettings
from kronos.backtest.strategies import LongShortDeciles, Strategy, ThresholdLongFlat, TopkDropout
from kronos.datasets.config import Section
from kronos.datasets.config_errors import format_validation_error
from kronos.datasets.config_loading import read_yaml
from kronos.errors import ParameterError
from kronos.formatting import expand_user, join_names, truncate

Mode = Literal["published", "corrected", "both"]
StrategyName = Literal["topk", "deciles", "threshold"]
RulesName = Literal["ashare", "unrestricted"]

_PREFIX = "KRONOS_BACKTEST__"
_ENDINGS = (".yaml", ".yml")
ASHARE, CRYPTO = "cn_ashare", "crypto"  # markets with rules of their own
_CRYPTO_SHARE = 1e-6  # coins trade in fractions
_OTHER_RATE = 0.0005  # of each side where a market's own costs are not known
Values = Mapping[tuple[str, str], Any]


def _as_list(value: Any) -> Any:
    """Accept one value, a list, or values separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _known_signals(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in SIGNALS:
            near = difflib.get_close_matches(name, SIGNALS, n=1)
            hint = f"the nearest is {near[0]}" if near else f"choose {join_names(list(SIGNALS), None, 'or')}"
            raise ValueError(f"there is no signal {truncate(name)}; {hint}")
    if len(set(names)) < len(names):
        raise ValueError("a name is repeated")
    return names


Paths = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
SignalNames = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1), AfterValidator(_known_signals)]
File = Annotated[Path, AfterValidator(expand_user)]
Dates = Annotated[Span, BeforeValidator(_as_list)]


class BacktestDataSection(Section):
    """Candles.

    Attributes:
        paths: Candle files, folders, prepared datasets; or one Qlib folder: ``qlib:FOLDER:csi300``.
        market: Market of all instruments; None to take it from the files.
        interval: Interval of the candles to use; None if there is one only.
        timezone: Timezone of all files.
        universe: File with the membership of an index by date; of a Qlib folder its own list is used.
        benchmark: Qlib code, or name of an instrument, that excess returns are against; None for equal weights.
        history: Of a Qlib folder: ``published`` rows, or the ``full`` history of each instrument.
    """

    paths: Paths
    market: str | None = None
    interval: str | None = None
    timezone: str | None = None
    universe: File | None = None
    benchmark: str | None = None
    history: History = "published"


class BacktestModelSection(Section):
    """The model.

    Attributes:
        name: Zoo name, hub id or folder; None for the bundled one.
        tokenizer: Tokenizer, if not the one that belongs to the model.
        device: ``cpu``, ``cuda`` or ``mps``; None for the best available one.
        precision: ``exact`` or ``fast``.
    """

    name: str | None = None
    tokenizer: str | None = None
    device: str | None = None
    precision: Literal["exact", "fast"] | None = None


class PeriodsSection(Section):
    """Spans of dates, each from first to last, inclusive; see `QlibPeriods`.

    Attributes:
        train: Training period of a Qlib folder.
        validation: Validation period of a Qlib folder.
        test: Rows of a Qlib folder that forecasts are made from.
        backtest: Trading days; None for all days that are new to the model.
    """

    train: Dates = QlibPeriods().train
    validation: Dates = QlibPeriods().validation
    test: Dates = QlibPeriods().test
    backtest: Dates | None = None


class SignalsSection(Section):
    """Signals and the forecasts that they are made from; see `SignalSettings`.

    Attributes:
        names: Signals to trade, each on its own.
        lookback: Candles of history.
        horizon: Candles to forecast.
        samples: Number of sample paths.
        temperature: Sampling temperature.
        top_p: Total probability of the tokens to sample from.
        top_k: Number of tokens to sample from; 0 for all.
        seed: Random seed.
        calibrated: Whether to apply the calibration that ships with the model.
        seen: Whether days that the model may have seen in training are refused or marked.
    """

    names: SignalNames = ("last",)
    lookback: int = 90
    horizon: int = 10
    samples: int = 5
    temperature: float = 0.6
    top_p: float = 0.9
    top_k: int = 0
    seed: int = 1
    calibrated: bool = False
    seen: SeenDays = "refuse"

    def settings(self) -> SignalSettings:
        """The settings of the forecasts."""
        values = self.model_dump(exclude={"names", "seen"})
        return SignalSettings(**values)


class StrategySection(Section):
    """The strategy.

    Attributes:
        name: ``topk``, ``deciles`` or ``threshold``; None for threshold with one instrument, else topk.
        top: Instruments that topk holds; None for a fifth of all, at most 50.
        drop: Most holdings that topk replaces in a day; None for a tenth of ``top``.
        hold: Least number of closes that topk holds an instrument.
        fraction: Share of the instruments on each side of deciles.
        rebalance: Bars between rebalancings of deciles.
        entry: Score above which threshold buys.
        exit: Score at or below which threshold sells; None for the entry.
    """

    name: StrategyName | None = None
    top: Annotated[int, Field(ge=1)] | None = None
    drop: Annotated[int, Field(ge=0)] | None = None
    hold: Annotated[int, Field(ge=0)] = 5
    fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    rebalance: Annotated[int, Field(ge=1)] = 1
    entry: float = 0.0
    exit: float | None = None

    def strategy(self, instruments: int) -> Strategy:
        """The strategy for a number of instruments."""
        name = self.name or ("threshold" if instruments == 1 else "topk")
        if name == "deciles":
            return LongShortDeciles(self.fraction, interval=self.rebalance)
        if name == "threshold":
            return ThresholdLongFlat(self.entry, self.exit)
        top = self.top or max(1, min(50, round(instruments / 5)))
        drop = max(1, top // 10) if self.drop is None else self.drop
        return TopkDropout(top, drop, self.hold)


class TradingSection(Section):
    """Account, costs and rules of the market; None takes a value from ``rules``.

    Attributes:
        mode: ``corrected``, ``published`` (as Qlib executes it) or ``both``; None for both with a Qlib folder.
        rules: ``ashare`` or ``unrestricted`` for all instruments; None for those of each one's market.
        fill: Price of trades: the ``open`` or the ``close`` of the next bar.
        lag: Bars from a signal to its trades.
        cash: Cash to start with.
        open_rate: Fee of a purchase as a share of its value.
        close_rate: Fee of a sale.
        minimum: Least fee of an order.
        slippage: Slippage in basis points; in the corrected mode only.
        lot_size: Shares of a lot.
        share_size: What one share is of the quoted unit.
        price_limit: Daily price limit as a share of the previous close.
        borrow_rate: Fee a year of borrowing shares for short positions, as a share of their value.
        delisting_days: Bars without one of an instrument after which a position is settled as delisted; None for never.
        delisting_value: Price of that settlement as a share of the latest close.
    """

    mode: Mode | None = None
    rules: RulesName | None = None
    fill: Literal["open", "close"] = "open"
    lag: Annotated[int, Field(ge=1)] = 1
    cash: Annotated[float, Field(gt=0)] = 1e6
    open_rate: float | None = None
    close_rate: float | None = None
    minimum: float | None = None
    slippage: float = 0.0
    lot_size: int | None = None
    share_size: float | None = None
    price_limit: float | None = None
    borrow_rate: float = 0.0
    delisting_days: int | None = None
    delisting_value: float = 1.0

    def trading_costs(self, markets: Collection[str]) -> TradingCosts:
        """The costs: those of the published backtest for A-shares, else 0.05 % a side; given values override them.

        Args:
            markets: Markets of the instruments; those of the first are the costs of all but the other markets.
        """
        first, *others = sorted(set(markets))
        base = self._costs(first)
        return replace(base, markets={other: own for other in others if (own := self._costs(other)) != base})

    def _costs(self, market: str) -> TradingCosts:
        default = TradingCosts() if self._is_ashare(market) else TradingCosts(_OTHER_RATE, _OTHER_RATE, 0.0)
        given = {name: getattr(self, name) for name in ("open_rate", "close_rate", "minimum")}
        values = {name: getattr(default, name) if value is None else value for name, value in given.items()}
        return TradingCosts(**values, slippage=self.slippage, borrow_rate=self.borrow_rate)

    def trading_rules(self, markets: Collection[str], *, short_sales: bool) -> TradingRules:
        """The rules of the markets; given values override them.

        Args:
            markets: Markets of the instruments; those of the first are the rules of all but the other markets.
            short_sales: Whether the strategy sells short.
        """
        first, *others = sorted(set(markets))
        base = self._market_rules(first)
        return TradingRules(
            **asdict(base),
            markets={other: own for other in others if (own := self._market_rules(other)) != base},
            deal_price=self.fill,
            lag=self.lag,
            short_sales=short_sales,
            delisting_days=self.delisting_days,
            delisting_value=self.delisting_value,
        )

    def _market_rules(self, market: str) -> MarketRules:
        ashare = self._is_ashare(market)
        share = _CRYPTO_SHARE if market == CRYPTO and not ashare else 1.0
        return MarketRules(
            # A value of 0 is given, and refused by the rules.
            lot_size=(100 if ashare else 1) if self.lot_size is None else self.lot_size,
            share_size=share if self.share_size is None else self.share_size,
            price_limit=(0.095 if ashare else None) if self.price_limit is None else self.price_limit,
            t_plus=1 if ashare else 0,
        )

    def _is_ashare(self, market: str) -> bool:
        return market == ASHARE if self.rules is None else self.rules == "ashare"


class StudySection(Section):
    """What results are compared with.

    Attributes:
        random_signals: Number of random signals; 0 for none.
        risk_free: Risk-free rate a year.
        repetitions: Bootstrap repetitions of intervals.
    """

    random_signals: Annotated[int, Field(ge=0, le=10_000)] = 100
    risk_free: float = 0.0
    repetitions: Annotated[int, Field(ge=100, le=100_000)] = 1000


class BacktestConfig(Section):
    """The configuration of a backtest.

    Attributes:
        description: One line of text.
        output: Folder of signals, trials and results; None for one in ``outputs/backtest_results``.
    """

    description: str = ""
    data: BacktestDataSection
    periods: PeriodsSection = PeriodsSection()
    model: BacktestModelSection = BacktestModelSection()
    signals: SignalsSection = SignalsSection()
    strategy: StrategySection = StrategySection()
    trading: TradingSection = TradingSection()
    study: StudySection = StudySection()
    output: File | None = None

    @model_validator(mode="after")
    def _check_qlib(self) -> BacktestConfig:
        if self.is_qlib and len(self.data.paths) > 1:
            raise ValueError("a Qlib folder is read alone: leave out the other paths")
        if self.trading.mode in ("published", "both") and self.strategy.name not in (None, "topk"):
            raise ValueError("the published mode has the strategy topk only: choose mode corrected")
        return self

    def check_trading(self) -> None:
        """Refuse costs, rules and strategies that would end the run after hours of forecasts.

        Raises:
            ParameterError: If a value is out of range.
        """
        self.trading.trading_costs((ASHARE,))
        self.trading.trading_rules((ASHARE,), short_sales=False)
        # Both kinds of backtest by default: of one instrument, and of the most that topk holds.
        for instruments in (1, 250):
            self.strategy.strategy(instruments)

    @property
    def is_qlib(self) -> bool:
        """Whether the candles are those of a Qlib folder."""
        return any(path.lower().startswith("qlib:") for path in self.data.paths)

    def qlib_periods(self) -> QlibPeriods:
        """The periods of a Qlib folder."""
        given = self.periods.backtest or QlibPeriods().backtest
        return QlibPeriods(self.periods.train, self.periods.validation, self.periods.test, given)


def load_backtest_config(
    file: str | Path | None = None, *, overrides: Values | None = None, environment: Mapping[str, str] = os.environ
) -> BacktestConfig:
    """Load a configuration.

    Args:
        file: Name of one that ships (``backtest_csi300``) or of one in ``configs/``, or the path of a YAML file.
        overrides: Values of options by section and key (top-level keys under an empty section); None is ignored.
        environment: Variables; those named ``KRONOS_BACKTEST__STRATEGY__TOP`` and the like override the file.

    Raises:
        ParameterError: If a file is missing or invalid, a key is unknown, or a value is out of range.
    """
    values: dict[str, Any] = {}
    origin = "the configuration"
    if file is not None:
        path = find_backtest_config(file)
        origin, values = path.name, read_yaml(path)
    for layer in (_environment_values(environment), overrides or {}):
        for (section, key), value in layer.items():
            if value is None:
                continue
            own = values.get(section, {}) if section else values
            if not isinstance(own, Mapping):
                raise ParameterError(f"'{section}' in {origin} is invalid: a section is needed.")
            values = {**values, section: {**own, key: value}} if section else {**values, key: value}
    try:
        config = BacktestConfig.model_validate(values)
    except ValidationError as error:
        message = format_validation_error(error, origin, BacktestConfig)
        raise ParameterError(message if file is not None else f"{message[:1].upper()}{message[1:]}") from None
    config.check_trading()
    return config


def is_backtest_config(name: str | Path) -> bool:
    """Whether a text names a configuration, rather than candles: a YAML file, or a name of `list_backtest_configs`."""
    return Path(name).suffix.lower() in _ENDINGS or str(name).lower() in list_backtest_configs()


def list_backtest_configs() -> dict[str, Path]:
    """Configurations that can be loaded by name; files ``configs/backtest_*.yaml`` override those that ship."""
    folders = (Path(str(resources.files("kronos") / "configs")), Path("configs"))
    files = [path for folder in folders for ending in _ENDINGS for path in sorted(folder.glob(f"backtest_*{ending}"))]
    return {path.stem.lower(): path for path in files}


def find_backtest_config(name: str | Path) -> Path:
    """Find the file of a configuration.

    Raises:
        ParameterError: If there is none; the message suggests the nearest name.
    """
    path = expand_user(name)
    if path.is_file():
        return path
    known = list_backtest_configs()
    key = str(name).lower()
    if key in known:
        return known[key]
    if path.suffix.lower() in _ENDINGS:
        raise ParameterError(f"There is no configuration file {truncate(name, 80)}: check its path.")
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose {join_names(list(known), None, 'or')}, or pass a path."
    raise ParameterError(f"There is no configuration '{truncate(name, 80)}'; {hint}")


def _environment_values(environment: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Values of variables by section and key, and the project's own for the model and its device."""
    shared = {("model", "name"): "KRONOS_MODEL", ("model", "device"): "KRONOS_DEVICE"}
    values = {key: environment[name] for key, name in shared.items() if environment.get(name, "").strip()}
    for name, value in environment.items():
        if name.upper().startswith(_PREFIX) and value.strip():
            section, separator, key = name[len(_PREFIX) :].lower().partition("__")
            values[(section, key) if separator else ("", section)] = value
    return values


__all__ = [
    "BacktestConfig",
    "Mode",
    "RulesName",
    "StrategyName",
    "find_backtest_config",
    "is_backtest_config",
    "list_backtest_configs",
    "load_backtest_config",
]
