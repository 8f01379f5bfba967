"""A predictor that fails or waits on demand, and a server with it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import ClassVar

from kronos.inference import KronosPredictor
from serve.servers import run_server, settings_in


class FaultyPredictor(KronosPredictor):
    """The real predictor, which raises ``errors`` by series name, and waits for ``gate``."""

    errors: ClassVar[dict[str, BaseException]] = {}
    gate: ClassVar[threading.Event | None] = None
    batches: ClassVar[list[list[str]]] = []

    def forecast_many(self, series, *args, **kwargs):
        type(self).batches.append(sorted(series))
        while self.gate is not None and not self.gate.wait(0.02):
            kwargs["progress"](0, 1)  # cancelled work stops here
        for name in series:
            if name in self.errors:
                raise self.errors[name]
        return super().forecast_many(series, *args, **kwargs)


@contextmanager
def faulty_server(folder, **document):
    """Run a server with a `FaultyPredictor`."""
    with run_server(settings_in(folder, **{"work_per_minute": 0, "samples": 2, **document})) as server:
        server.wait_ready()
        state = server.state
        state.models.loaded(state.models.default).__class__ = FaultyPredictor
        FaultyPredictor.errors, FaultyPredictor.gate, FaultyPredictor.batches = {}, None, []
        try:
            yield server
        finally:
            FaultyPredictor.gate = None
