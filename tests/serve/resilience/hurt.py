"""A predictor that can be hurt, and a server that has it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import ClassVar

from kronos.inference import KronosPredictor
from serve.live import served, settings_in


class Hurt(KronosPredictor):
    """The real predictor, with a way to make it fail, or wait, for some series."""

    hurting: ClassVar[dict[str, BaseException]] = {}
    gate: ClassVar[threading.Event | None] = None
    batches: ClassVar[list[list[str]]] = []

    def forecast_many(self, series, *args, **kwargs):
        type(self).batches.append(sorted(series))
        while self.gate is not None and not self.gate.wait(0.02):
            kwargs["progress"](0, 1)  # a step: where cancelled work stops
        for name in series:
            if name in self.hurting:
                raise self.hurting[name]
        return super().forecast_many(series, *args, **kwargs)


@contextmanager
def hurt(folder, **told):
    """A server whose predictor can be hurt."""
    with served(settings_in(folder, **{"work_per_minute": 0, **told})) as server:
        server.wait_ready()
        state = server.state
        state.models.loaded(state.models.default).__class__ = Hurt
        Hurt.hurting, Hurt.gate, Hurt.batches = {}, None, []
        try:
            yield server
        finally:
            Hurt.gate = None
