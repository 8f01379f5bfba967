"""Simulated series: forecasters of known quality on a random walk, as entries of a record."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kronos.live.entries import (
    UNIT,
    Entry,
    ForecastEntry,
    LateEntry,
    MissedEntry,
    ScoreEntry,
    UnresolvedEntry,
    encode_paths,
    format_time,
)
from kronos.live.scoring import score_many, settle_events

H, SIGMA, PATHS = 24, 0.005, 30
BASELINE = "historical-volatility"
PROTOCOL = {
    "simulated": True,
    "horizon": H,
    "model": {"calibration_sha256": None},
    "baselines": [BASELINE],
    "sampling": {"paths": PATHS},
    "stop_after": None,
}


def simulate(kind: str, origins: int, seed: int = 0, fates: dict[int, str] | None = None) -> list[Entry]:
    """Entries of a series in the order of an hourly record.

    Args:
        kind: ``calibrated``, ``overconfident`` (half the standard deviation) or ``clairvoyant``.
        origins: Number of hourly origins.
        seed: Random seed.
        fates: Origins without a score: ``missed``, ``late`` or ``unresolved`` by number.
    """
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, SIGMA, origins + H)
    returns = np.lib.stride_tricks.sliding_window_view(steps, H)[:origins].cumsum(axis=1)  # they share increments
    noise = rng.normal(0, SIGMA, (origins, PATHS, H)).cumsum(axis=2)
    own = {
        "calibrated": noise,
        "overconfident": noise / 2,
        "clairvoyant": returns[:, None] + noise / 10,
    }[kind]
    paths = {"raw": own, BASELINE: rng.normal(0, SIGMA, (origins, PATHS, H)).cumsum(axis=2)}
    paths = {name: np.rint(part / UNIT) * UNIT for name, part in paths.items()}
    recent = np.full(origins, SIGMA)
    happened = settle_events(returns, recent)
    chances = {event: {"raw": np.full(origins, 0.5)} for event in happened}
    if kind == "clairvoyant":
        chances = {event: {"raw": np.where(flags, 0.95, 0.05)} for event, flags in happened.items()}
    scores = score_many(paths, returns, recent, chances)
    text = {name: encode_paths(part[0]) for name, part in paths.items()}  # only their size is read again
    times = [format_time(time) for time in pd.date_range("2026-01-01", periods=origins + H, freq="1h", tz="UTC")]
    fates = fates or {}
    entries: list[Entry] = []
    for i in range(origins + H):
        entries += _outcome(i - H, times, fates, scores, happened) if i >= H else []
        if i < origins:
            probabilities = {event: {"raw": [float(given["raw"][i])] * 3} for event, given in chances.items()}
            entries.append(_origin(fates.get(i, "forecast"), times[i], text, probabilities))
    return entries


def _origin(fate: str, time: str, paths: dict[str, str], probabilities: dict[str, dict[str, Sequence[float]]]) -> Entry:
    if fate == "missed":
        return MissedEntry(series="s", origin=time, made_at=time, reason="it was not running")
    return (LateEntry if fate == "late" else ForecastEntry)(
        series="s",
        origin=time,
        made_at=time,
        server_time=time,
        source="simulated",
        simulated=True,
        last_close=100.0,
        sigma=SIGMA,
        recent_volatility=SIGMA,
        times=[time] * H,
        paths=paths,
        probabilities=probabilities,
        history={},
        seed=0,
    )


def _outcome(i, times, fates, scores, happened):
    fate = fates.get(i, "forecast")
    made = {"series": "s", "origin": times[i], "made_at": times[i + H]}
    if fate == "unresolved":
        return [UnresolvedEntry(**made, reason="candles are missing", missing=[times[i]])]
    if fate != "forecast":
        return []
    outcome = {event: bool(flags[i]) for event, flags in happened.items()}
    settled = {"source": "simulated", "fetched_at": times[i + H], "candles": [], "sha256": ""}
    return [ScoreEntry(**made, **settled, outcome=outcome, scores=scores[i])]
