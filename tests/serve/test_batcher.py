"""The inference queue: priorities and outcomes."""

import threading
import time
from concurrent.futures import Future

import pytest

from kronos.inference import SamplingParams
from kronos.intervals import Interval
from kronos.serve.batcher import ForecastRequest, InferenceQueue, PendingForecast
from kronos.serve.errors import ApiError
from kronos.serve.model_pool import ModelPool
from kronos.settings import Settings
from kronos.sources import open_source


@pytest.fixture(scope="module")
def models():
    models = ModelPool(Settings())
    models.get(models.default)
    return models


@pytest.fixture(scope="module")
def candles():
    return open_source("simulated").candles("BTC", Interval.parse("1h"), records=200)


def test_interactive_requests_are_computed_before_background_jobs(models, candles):
    queue = InferenceQueue(models, queue=20, batch=1)
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


# Fairness -------------------------------------------------------------------


class Recorder:
    """Submits requests to a queue and records the order in which they are finished."""

    def __init__(self, models, candles, **options):
        self.queue = InferenceQueue(models, **{"queue": 20, "batch": 1, **options})
        self.models, self.candles, self.order = models, candles, []

    def submit(self, name, client, samples=2, horizon=2, *, background=True, listener=None):
        sampling = SamplingParams(samples=samples, seed=0)
        request = ForecastRequest(
            name, self.candles, horizon, sampling, self.models.default, client=client, background=background
        )
        pending = self.queue.submit(request, listener)
        pending.result.add_done_callback(lambda _: self.order.append(name))
        return pending

    def run(self, submitted):
        self.queue.start()
        for pending in submitted:
            pending.result.result(60)
        self.queue.stop()
        return self.order


def test_clients_take_turns_by_work(models, candles):
    recorder = Recorder(models, candles)
    large = [recorder.submit(f"a{i}", "a", samples=4) for i in range(3)]
    small = [recorder.submit(f"b{i}", "b") for i in range(4)]
    assert recorder.run(large + small) == ["a0", "b0", "b1", "a1", "b2", "b3", "a2"]


def test_a_newcomer_has_no_credit_for_the_past(models, candles):
    recorder = Recorder(models, candles)
    first = [recorder.submit(f"a{i}", "a") for i in range(3)]
    recorder.queue.start()
    first[2].result.result(60)
    gate = threading.Event()
    held = recorder.submit("held", "a", horizon=3, listener=lambda _: gate.wait(10))
    while not recorder.queue.busy:
        time.sleep(0.01)
    waiting = [recorder.submit(f"b{i}", "b") for i in range(2)] + [recorder.submit(f"c{i}", "c") for i in range(2)]
    gate.set()
    for pending in [held, *waiting]:
        pending.result.result(60)
    recorder.queue.stop()
    assert recorder.order[-4:] == ["b0", "c0", "b1", "c1"]


def test_cancelled_requests_are_not_counted(models, candles):
    recorder = Recorder(models, candles)
    cancelled = [recorder.submit(f"x{i}", "a", samples=50) for i in range(5)]
    for pending in cancelled:
        pending.cancel()
    submitted = [recorder.submit("a", "a"), recorder.submit("b", "b")]
    assert [name for name in recorder.run(submitted) if len(name) == 1] == ["a", "b"]


@pytest.mark.parametrize(
    ("client", "background", "samples", "interrupts"),
    [("b", True, 2, True), ("a", False, 2, True), ("a", True, 2, False), ("b", True, 60, False)],
    ids=["of another client", "interactive", "of the same client", "as long"],
)
def test_a_long_batch_lets_short_requests_run(models, candles, client, background, samples, interrupts):
    recorder = Recorder(models, candles)
    submitted = []

    def submit_short(_):
        if len(submitted) == 1:
            submitted.append(recorder.submit("short", client, samples, background=background))

    submitted.append(recorder.submit("long", "a", samples=50, horizon=4, listener=submit_short))
    recorder.run(submitted[:1])
    assert len(submitted) == 2
    assert (submitted[1].result.exception(10) is None) == interrupts, "only a request that interrupts is computed"
    if interrupts:
        assert recorder.order == ["short", "long"]


def test_an_interrupted_forecast_is_the_same(models, candles):
    recorder = Recorder(models, candles)
    short = []

    def submit_short(_):
        short.append(recorder.submit(f"short {len(short)}", "b", horizon=1))

    long = recorder.submit("long", "a", samples=20, horizon=8, listener=submit_short)
    recorder.queue.start()
    interrupted = long.result.result(60)
    assert any(pending.result.done() for pending in short)
    recorder.queue.stop()
    sampling = SamplingParams(samples=20, seed=0)
    predictor = models.get(models.default)
    alone = predictor.forecast_many({"long": candles}, 8, sampling=sampling, calibration=False)
    assert (interrupted.forecast.paths == alone["long"].paths).all()


def test_a_failing_short_request_does_not_affect_the_long_one(models, candles):
    recorder = Recorder(models, candles)
    short = []

    def submit_short(_):
        if not short:
            short.append(recorder.submit("short", "b", horizon=1))
            object.__setattr__(short[0].request, "candles", None)

    long = recorder.submit("long", "a", samples=20, horizon=4, listener=submit_short)
    recorder.queue.start()
    assert long.result.result(60).forecast.samples == 20
    assert short[0].result.exception(10) is not None
    recorder.queue.stop()


def test_one_client_does_not_fill_the_queue(models, candles):
    recorder = Recorder(models, candles, queue=3)
    for i in range(3):
        recorder.submit(f"a{i}", "a")
    with pytest.raises(ApiError) as full:
        recorder.submit("a3", "a")
    assert (full.value.status, bool(full.value.retry_after)) == (503, True)
    for client in ("b", "c", "d"):
        for i in range(3):
            recorder.submit(f"{client}{i}", client)
    with pytest.raises(ApiError):
        recorder.submit("e", "e")


def test_batches_are_bounded_by_work(models, candles):
    recorder = Recorder(models, candles, batch=32, queue=40)
    for i in range(10):
        recorder.submit(str(i), "a", samples=200, horizon=100)
    with recorder.queue._changed:
        assert len(recorder.queue._take_batch(recorder.queue._queue)) == 5
