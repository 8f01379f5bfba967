"""Symbols in any notation: the same market for all of them, and never another kind in silence."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError
from kronos.sources.exchanges.symbols import Instrument, find, kinds_asked, parse_symbol

SPOT = [
    Instrument("BTC/USDT", "BTCUSDT", "BTC", "USDT"),
    Instrument("BTC/USDC", "BTCUSDC", "BTC", "USDC"),
    Instrument("ETH/USDT", "ETHUSDT", "ETH", "USDT"),
    Instrument("ETH/BTC", "ETHBTC", "ETH", "BTC"),
    Instrument("XMR/USDC", "XMRUSDC", "XMR", "USDC"),
    Instrument("XMR/FDUSD", "XMRFDUSD", "XMR", "FDUSD"),
    Instrument("1000SATS/USDT", "1000SATSUSDT", "1000SATS", "USDT"),
]
CONTRACTS = [
    Instrument("BTC/USDT:USDT", "BTCUSDT", "BTC", "USDT", "USDT"),
    Instrument("BTC/USDC:USDC", "BTCUSDC", "BTC", "USDC", "USDC"),
    Instrument("BTC/USD:BTC", "BTCUSD_PERP", "BTC", "USD", "BTC"),
    Instrument("PEPE/USDT:USDT", "PEPEUSDT", "PEPE", "USDT", "USDT"),
    Instrument("BTC/USDT:USDT-241227", "BTCUSDT_241227", "BTC", "USDT", "USDT", perpetual=False),
]
ALL = [*SPOT, *CONTRACTS]


def found(text: str, usual: str = "spot", markets: list[Instrument] = ALL) -> str:
    return find(text, markets, usual=usual, exchange="somewhere")


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
def test_every_usual_notation(text, symbol):
    assert found(text) == symbol


@pytest.mark.parametrize("text", ["BTCUSDT", "BTC-USDT", "btc_usdt", "BTC/USDT", "BTC", "BTC/USDT:USDT"])
def test_the_settings_say_what_a_symbol_without_settlement_is(text):
    assert found(text, usual="swap") == "BTC/USDT:USDT"


@pytest.mark.parametrize(
    ("text", "usual", "words"),
    [
        ("BTC/USDTT", "spot", ["no spot market 'BTC/USDTT'", "did you mean BTC/USDT?"]),
        ("PEPEUSDT", "spot", ["no spot market", "another kind", "PEPE/USDT:USDT"]),
        ("ETH/USDT", "swap", ["no perpetual", "another kind", "ETH/USDT?"]),
        ("ETH-USDT-SWAP", "spot", ["no perpetual", "ETH/USDT?"]),
        ("zzzzzz", "spot", ["no spot market", "such as BTC/USD"]),
        ("", "spot", ["names no market"]),
        (" /- ", "spot", ["names no market"]),
        (":USDT", "spot", ["names no market"]),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest(text, usual, words):
    with pytest.raises(ParameterError) as caught:
        found(text, usual)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_exchange_for_contracts_alone_means_them():
    assert found("BTCUSDT", markets=CONTRACTS) == "BTC/USDT:USDT"
    with pytest.raises(ParameterError, match="no perpetuals at all"):
        found("SOL-USDT-SWAP", markets=SPOT)


def test_several_markets_of_one_name_are_asked_back():
    twins = [Instrument("AB/CUSDT", "1", "AB", "CUSDT"), Instrument("ABC/USDT", "2", "ABC", "USDT")]
    with pytest.raises(ParameterError, match="AB/CUSDT or ABC/USDT"):
        found("ABCUSDT", markets=twins)
    assert found("ABC-USDT", markets=twins) == "ABC/USDT"


def test_markets_that_trade_go_before_those_that_do_not():
    old = Instrument("LUNA/USDT", "LUNAUSDT", "LUNA", "USDT", active=False)
    assert found("luna", markets=[old]) == "LUNA/USDT"
    twins = [Instrument("AB/CUSDT", "1", "AB", "CUSDT", active=False), Instrument("ABC/USDT", "2", "ABC", "USDT")]
    assert found("abcusdt", markets=twins) == "ABC/USDT"


@pytest.mark.parametrize(
    ("text", "usual", "kinds"),
    [
        ("BTC/USDT", "spot", ("spot",)),
        ("BTC/USDT", "swap", ("linear",)),
        ("BTC-USDT-SWAP", "spot", ("linear",)),
        ("BTC/USD:BTC", "spot", ("linear", "inverse")),
        ("BTC-USD-SWAP", "spot", ("linear", "inverse")),
    ],
)
def test_only_the_kinds_a_symbol_may_be_are_loaded(text, usual, kinds):
    assert kinds_asked(text, usual) == kinds


@given(st.sampled_from(ALL), st.sampled_from(["spot", "swap"]), st.booleans())
def test_a_symbol_that_was_found_is_found_again(market, usual, lower):
    text = market.symbol.lower() if lower else market.symbol
    try:
        symbol = found(text, usual)
    except ParameterError:
        assert market.kind == "spot"
        assert usual == "swap"  # no perpetual of it, and its spot market is not taken instead
        return
    assert found(symbol, usual) == symbol
    if market.kind != "spot" or usual == "spot":
        assert symbol == market.symbol


def outcome(call: Callable[[], str]) -> str:
    """What a call gives, or its refusal."""
    try:
        return call()
    except ParameterError as error:
        return f"refused: {error}"


@given(st.text(max_size=30))
def test_any_text_finds_a_market_or_is_refused_in_one_sentence(text):
    said = outcome(lambda: found(text))
    assert said in {one.symbol for one in ALL} or (said.startswith("refused: ") and said.isprintable())


@given(st.text(max_size=20))
def test_a_symbol_has_parts_or_names_no_market(text):
    said = outcome(lambda: parse_symbol(text).joined)
    assert said
    assert not said.startswith("refused: ") or "names no market" in said
