"""The inference queue: priorities and outcomes."""

from concurrent.futures import Future

import pytest

from kronos.inference import SamplingParams
from kronos.intervals import Interval
from kronos.serve.batcher import ForecastRequest, InferenceQueue, PendingForecast
from kronos.serve.model_pool import ModelPool
from kronos.settings import Settings
from kronos.sources import open_source


def test_interactive_requests_are_computed_before_background_jobs():
    models = ModelPool(Settings())
    models.get(models.default)
    queue = InferenceQueue(models, queue=20, batch=1)
    candles = open_source("simulated").candles("BTC", Interval.parse("1h"), records=200)
    order: list[str] = []

    def submit(name, background):
        sampling = SamplingParams(samples=2, seed=0)
        request = ForecastRequest(name, candles, 2, sampling, models.default, background=background)
        pending = queue.submit(request)
        pending.result.add_done_callback(lambda _: order.append(name))
        return pending

    submitted = [submit(f"job {i}", True) for i in range(4)] + [submit("prediction", False)]
    queue.start()
    for pending in submitted:
        pending.result.result(60)
    queue.stop()
    assert order == ["prediction", "job 0", "job 1", "job 2", "job 3"]


@pytest.mark.parametrize("first", [ValueError("a"), None], ids=["error", "cancelled"])
def test_only_the_first_outcome_counts(first):
    pending = PendingForecast(ForecastRequest("x", None, 1, None, None), None)
    if first is None:
        assert pending.result.cancel()
    else:
        pending.finish(first)
    pending.finish(ValueError("b"))
    assert isinstance(pending.result, Future)
    assert pending.result.cancelled() or pending.result.exception() is first
