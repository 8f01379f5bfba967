"""Symbols in any notation resolve to the same market, and never to another kind without notice."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError
from kronos.sources.exchanges.symbols import ExchangeMarket, parse_symbol, possible_kinds, resolve_symbol

SPOT = [
    ExchangeMarket("BTC/USDT", "BTCUSDT", "BTC", "USDT"),
    ExchangeMarket("BTC/USDC", "BTCUSDC", "BTC", "USDC"),
    ExchangeMarket("ETH/USDT", "ETHUSDT", "ETH", "USDT"),
    ExchangeMarket("ETH/BTC", "ETHBTC", "ETH", "BTC"),
    ExchangeMarket("XMR/USDC", "XMRUSDC", "XMR", "USDC"),
    ExchangeMarket("XMR/FDUSD", "XMRFDUSD", "XMR", "FDUSD"),
    ExchangeMarket("1000SATS/USDT", "1000SATSUSDT", "1000SATS", "USDT"),
]
CONTRACTS = [
    ExchangeMarket("BTC/USDT:USDT", "BTCUSDT", "BTC", "USDT", "USDT"),
    ExchangeMarket("BTC/USDC:USDC", "BTCUSDC", "BTC", "USDC", "USDC"),
    ExchangeMarket("BTC/USD:BTC", "BTCUSD_PERP", "BTC", "USD", "BTC"),
    ExchangeMarket("PEPE/USDT:USDT", "PEPEUSDT", "PEPE", "USDT", "USDT"),
    ExchangeMarket("BTC/USDT:USDT-241227", "BTCUSDT_241227", "BTC", "USDT", "USDT", perpetual=False),
]
ALL = [*SPOT, *CONTRACTS]


def found(text: str, default: str = "spot", markets: list[ExchangeMarket] = ALL) -> str:
    return resolve_symbol(text, markets, default=default, exchange="somewhere")


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC/USDT", "BTC/USDT"),
        ("BTC-USDT", "BTC/USDT"),
        ("BTCUSDT", "BTC/USDT"),
        (" btc_usdt ", "BTC/USDT"),
        ("btc usdt", "BTC/USDT"),
        ("BTC", "BTC/USDT"),
        ("xmr", "XMR/USDC"),  # more of this exchange's markets are in USDC than in FDUSD
        ("ethbtc", "ETH/BTC"),
        ("1000sats-usdt", "1000SATS/USDT"),
        ("BTC-USDT-SWAP", "BTC/USDT:USDT"),
        ("btcusdt.p", "BTC/USDT:USDT"),
        ("BTC-PERP", "BTC/USDT:USDT"),
        ("BTC/USDT:USDT", "BTC/USDT:USDT"),
        ("btc-usdc:usdc", "BTC/USDC:USDC"),
        ("BTC-USD-SWAP", "BTC/USD:BTC"),
        ("btcusd_perp", "BTC/USD:BTC"),
        ("BTC/USDT:USDT-241227", "BTC/USDT:USDT-241227"),
    ],
)
def test_all_notations(text, symbol):
    assert found(text) == symbol


@pytest.mark.parametrize("text", ["BTCUSDT", "BTC-USDT", "btc_usdt", "BTC/USDT", "BTC", "BTC/USDT:USDT"])
def test_default_kind_of_symbols_without_a_settlement(text):
    assert found(text, default="swap") == "BTC/USDT:USDT"


@pytest.mark.parametrize(
    ("text", "default", "words"),
    [
        ("BTC/USDTT", "spot", ["no spot market 'BTC/USDTT'", "did you mean BTC/USDT?"]),
        ("PEPEUSDT", "spot", ["no spot market", "another kind", "PEPE/USDT:USDT"]),
        ("ETH/USDT", "swap", ["no perpetual", "another kind", "ETH/USDT?"]),
        ("ETH-USDT-SWAP", "spot", ["no perpetual", "ETH/USDT?"]),
        ("zzzzzz", "spot", ["no spot market", "BTC/USD"]),
        ("", "spot", ["Invalid symbol ''"]),
        (" /- ", "spot", ["Invalid symbol"]),
        (":USDT", "spot", ["Invalid symbol ':USDT'"]),
    ],
)
def test_unknown_symbols_are_rejected_with_a_suggestion(text, default, words):
    with pytest.raises(ParameterError) as caught:
        found(text, default)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_exchange_with_contracts_only():
    assert found("BTCUSDT", markets=CONTRACTS) == "BTC/USDT:USDT"
    with pytest.raises(ParameterError, match="no perpetuals"):
        found("SOL-USDT-SWAP", markets=SPOT)


def test_ambiguous_symbols_are_rejected():
    twins = [ExchangeMarket("AB/CUSDT", "1", "AB", "CUSDT"), ExchangeMarket("ABC/USDT", "2", "ABC", "USDT")]
    with pytest.raises(ParameterError, match="AB/CUSDT or ABC/USDT"):
        found("ABCUSDT", markets=twins)
    assert found("ABC-USDT", markets=twins) == "ABC/USDT"


def test_active_markets_are_preferred():
    old = ExchangeMarket("LUNA/USDT", "LUNAUSDT", "LUNA", "USDT", active=False)
    assert found("luna", markets=[old]) == "LUNA/USDT"
    twins = [
        ExchangeMarket("AB/CUSDT", "1", "AB", "CUSDT", active=False),
        ExchangeMarket("ABC/USDT", "2", "ABC", "USDT"),
    ]
    assert found("abcusdt", markets=twins) == "ABC/USDT"


@pytest.mark.parametrize(
    ("text", "default", "kinds"),
    [
        ("BTC/USDT", "spot", ("spot",)),
        ("BTC/USDT", "swap", ("linear",)),
        ("BTC-USDT-SWAP", "spot", ("linear",)),
        ("BTC/USD:BTC", "spot", ("linear", "inverse")),
        ("BTC-USD-SWAP", "spot", ("linear", "inverse")),
    ],
)
def test_possible_kinds_of_a_symbol(text, default, kinds):
    assert possible_kinds(text, default) == kinds


@given(st.sampled_from(ALL), st.sampled_from(["spot", "swap"]), st.booleans())
def test_resolution_is_idempotent(market, default, lower):
    text = market.symbol.lower() if lower else market.symbol
    try:
        symbol = found(text, default)
    except ParameterError:
        assert market.kind == "spot"
        assert default == "swap"  # it has no perpetual, and its spot market is not used instead
        return
    assert found(symbol, default) == symbol
    if market.kind != "spot" or default == "spot":
        assert symbol == market.symbol


def outcome(call: Callable[[], str]) -> str:
    """Result of a call, or its error."""
    try:
        return call()
    except ParameterError as error:
        return f"rejected: {error}"


@given(st.text(max_size=30))
def test_any_text_is_resolved_or_rejected_in_one_line(text):
    result = outcome(lambda: found(text))
    assert result in {market.symbol for market in ALL} or (result.startswith("rejected: ") and result.isprintable())


@given(st.text(max_size=20))
def test_any_text_has_parts_or_is_rejected(text):
    result = outcome(lambda: parse_symbol(text).joined)
    assert result
    assert not result.startswith("rejected: ") or "Invalid symbol" in result
