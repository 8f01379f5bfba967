"""The async cache: expiry, single flight, errors."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.serve.cache import AsyncTTLCache, Expiring
from kronos.serve.errors import ApiError
from kronos.serve.market_data import MarketData, parse_assets
from kronos.sources import open_source


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["value", "error", "full"])), max_size=40), st.integers(1, 4)
)
def test_values_are_computed_once_at_a_time_and_bounded(calls, maxsize):
    async def run():
        cache, running, computed = AsyncTTLCache(maxsize), Counter(), Counter()

        async def get(key, kind):
            async def compute():
                running[key] += 1
                assert running[key] == 1, "computed twice at the same time"
                await asyncio.sleep(0)
                running[key] -= 1
                computed[key] += 1
                if kind == "error":
                    raise ValueError(key)
                if kind == "full":
                    raise ApiError(503, "full")
                return Expiring((key, computed[key]), 60.0)

            try:
                return await cache.get(key, compute)
            except (ValueError, ApiError) as error:
                return error

        results = await asyncio.gather(*(get(*call) for call in calls))
        assert len(cache) <= maxsize
        for (key, _), result in zip(calls, results, strict=True):
            assert isinstance(result, Exception) or result[0] == key
        assert all(cache.peek(key) is None or cache.peek(key)[0][0] == key for key in range(6))

    asyncio.run(run())


def test_cancelling_a_caller_does_not_cancel_the_computation():
    async def run():
        cache, proceed = AsyncTTLCache(), asyncio.Event()

        async def compute():
            await proceed.wait()
            return Expiring(7, 60.0)

        callers = [asyncio.create_task(cache.get("key", compute)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert "key" in cache
        assert cache.peek("key") is None
        callers[0].cancel()
        await asyncio.sleep(0.01)
        proceed.set()
        assert await asyncio.gather(*callers[1:]) == [7, 7]
        assert callers[0].cancelled()

    asyncio.run(run())


def test_values_expire_and_are_removed_when_a_value_is_stored():
    async def run():
        cache = AsyncTTLCache()

        async def compute(value, seconds):
            return Expiring(value, seconds)

        for i in range(50):
            await cache.get(i, lambda i=i: compute(i, 0.01))
        await asyncio.sleep(0.05)
        assert cache.peek(0) is None
        await cache.get(50, lambda: compute(50, 60))
        value, seconds = cache.peek(50)
        assert (value, len(cache)) == (50, 1)
        assert 59 < seconds <= 60
        cache.discard(50)
        assert 50 not in cache

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "attempts"), [(ValueError("x"), 1), (ApiError(502, "x"), 1), (ApiError(503, "x"), 2)]
)
def test_errors_are_cached_unless_they_are_temporary(error, attempts):
    async def run():
        cache, calls = AsyncTTLCache(), 0

        async def compute():
            nonlocal calls
            calls += 1
            raise error

        for _ in range(2):
            with pytest.raises(type(error)):
                await cache.get("key", compute)
        return calls

    assert asyncio.run(run()) == attempts


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="a clock of Linux")
def test_values_expire_while_the_machine_is_suspended(monkeypatch):
    suspended, original = 0.0, time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda kind: original(kind) + suspended * (kind == time.CLOCK_BOOTTIME))

    async def run():
        nonlocal suspended
        cache, computed = AsyncTTLCache(), iter("abc")

        async def compute():
            return Expiring(next(computed), 3600.0)

        values = [await cache.get("BTC", compute), await cache.get("BTC", compute)]
        suspended = 8 * 3600.0
        return [*values, cache.peek("BTC"), await cache.get("BTC", compute)]

    assert asyncio.run(run()) == ["a", "a", None, "b"]


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="a clock of Linux")
def test_candles_are_fetched_again_after_the_machine_was_suspended(monkeypatch):
    suspended, original = 0.0, time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda kind: original(kind) + suspended * (kind == time.CLOCK_BOOTTIME))
    assets = parse_assets(("BTC",), "USDT", "simulated")
    market_data = MarketData(open_source("simulated"), assets, interval="1h", timeout=10)
    snapshot = market_data._fetch(assets["BTC"], 100)
    assert 0 < snapshot.seconds <= 3605
    suspended = 8 * 3600.0
    assert snapshot.seconds == 0
