"""Cases that the browser's package is tested with: what this package computes from simulated inputs, as JSON.

``PYTHONPATH=src:tests python -m golden.browser_cases`` writes them to ``tests/golden/browser``. `test_browser.py`
checks that the files are what the code gives, and the tests in ``web/browser/tests`` that the browser's package gives
the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

import kronos
from golden.browser_tables import calendar_cases, csv_cases
from kronos.calendars import future_times
from kronos.calibration import Calibration, calibrate_forecast
from kronos.candles import COLUMNS, aliases
from kronos.forecasts import Forecast, ForecastMetadata, repair_candles
from kronos.forecasts.statistics import sample_quantiles
from kronos.inference.sampling import CounterBasedSampler, SamplingParams
from kronos.normalisation import fit_scaler, normalise
from kronos.preprocessing import time_features
from kronos.rng import keyed_uniforms

FOLDER = Path(__file__).parent / "browser"
MODEL = Path(str(resources.files("kronos.zoo") / "bundled" / "kronos-nano" / "model"))
SAMPLE = Path(str(resources.files("kronos.samples") / "simulated_btc_1h.csv"))
CLIP = 5.0
LEVELS = [0.025, 0.1, 0.5, 0.9, 0.975]
VOCABULARY = 64  # of the stub's coarse and fine tokens


def random_cases() -> list[dict[str, Any]]:
    """Uniform numbers by seed, series, paths and horizon."""
    cases = [
        (0, "", range(2), 3),
        (7, "BTC/USDT", range(3, 5), 5),
        (-12, "贵州茅台", range(1), 2),
        (2**70 + 1, "long name " * 20, range(1), 4),
    ]
    return [
        {
            "seed": str(seed),
            "series": series,
            "first": paths.start,
            "count": len(paths),
            "horizon": horizon,
            "uniforms": keyed_uniforms(seed, series, paths, horizon).ravel().tolist(),
        }
        for seed, series, paths, horizon in cases
    ]


def sampling_cases() -> list[dict[str, Any]]:
    """Tokens drawn from logits: shared by all samples, and of each sample, with every filter."""
    generator = np.random.default_rng(20)
    cases = []
    for rows, size, params in (
        (1, 64, SamplingParams()),
        (30, 64, SamplingParams()),
        (30, 200, SamplingParams(temperature=0.6, top_p=0.9)),
        (1, 200, SamplingParams(temperature=1.3, top_p=0.95)),
        (30, 64, SamplingParams(top_k=5)),
        (30, 64, SamplingParams(temperature=0.9, top_k=1, top_p=0.5)),
        (1, 200, SamplingParams(top_p=0.01)),
    ):
        logits = np.round(2.5 * generator.standard_normal((rows, size)), 3)
        uniforms = generator.random((30, 1, 2))
        uniforms[:3, 0, 0] = 0, 0.5, np.nextafter(1, 0)
        sampler = CounterBasedSampler(params, torch.from_numpy(uniforms)[None].float())
        tokens = sampler(0, 0, torch.from_numpy(logits)[None].float())
        cases.append(
            {
                "temperature": params.temperature,
                "topK": params.top_k,
                "topP": params.top_p,
                "vocabulary": size,
                "logits": logits.ravel().tolist(),
                "uniforms": uniforms[:, 0, 0].tolist(),
                "tokens": tokens[0].tolist(),
            }
        )
    return cases


def _sample() -> kronos.Candles:
    return kronos.read_candles(SAMPLE)


def _histories() -> Iterator[tuple[str, np.ndarray]]:
    values = _sample().frame.to_numpy()
    yield "plain", values[100:140]
    yield "two candles", values[7:9]
    without = values[200:220].copy()
    without[:, 4:] = 0
    yield "no volume", without
    idle = values[300:320].copy()
    idle[[3, 4, 19], 4:] = 0
    yield "some without volume", idle
    tiny = values[60:80].copy()
    tiny[:, :4] *= 1e-10
    yield "tiny prices", tiny
    constant = np.tile([5.0, 5.0, 5.0, 5.0, 3.0, 15.0], (8, 1))
    yield "constant", constant
    gaps = values[400:424].copy()
    gaps[::5, 0] *= 1.004
    gaps[:, 1] = gaps[:, :4].max(1)
    gaps[:, 2] = gaps[:, :4].min(1)
    yield "gaps", gaps


def normalisation_cases() -> list[dict[str, Any]]:
    """Histories, their normalised form, and the candles of normalised ones that follow."""
    generator = np.random.default_rng(21)
    cases = []
    for name, values in _histories():
        for normalisation in ("changes", "spread"):
            scaler = fit_scaler(values, normalisation)
            x, _ = normalise(values, CLIP, normalisation=normalisation)
            after = np.round(np.clip(1.5 * generator.standard_normal((5, 6)), -CLIP, CLIP), 3)
            after[2, 4] = -4.9  # no volume under "changes"
            cases.append(
                {
                    "name": name,
                    "normalisation": normalisation,
                    "clip": CLIP,
                    "values": values.tolist(),
                    "transformed": scaler.transform(values).tolist(),
                    "x": x.astype(np.float64).tolist(),
                    "after": after.tolist(),
                    "restored": scaler.inverse_transform(after).tolist(),
                    "last": scaler.inverse_transform_last(after[0]).tolist(),
                }
            )
    return cases


def _as_json(values: np.ndarray) -> list[Any]:
    """Nested numbers; those that JSON lacks as text."""
    if values.ndim:
        return [_as_json(part) for part in values]
    return float(values) if math.isfinite(values) else str(float(values))


def repair_cases() -> list[dict[str, Any]]:
    """Sampled candles with every fault, and their repair."""
    generator = np.random.default_rng(22)
    paths = np.round(100 + 3 * generator.standard_normal((4, 3, 6)), 2)
    faulty = paths.copy()
    faulty[0, 1, 3] = np.nan
    faulty[1, 0, 0] = np.inf
    faulty[1, 2] = [-5, 0.001, 90, 80, -1, np.nan]
    faulty[2, :, :4] = -1
    valid, _ = repair_candles(paths)
    cases = []
    for name, raw in (("unordered", paths), ("faulty", faulty), ("valid", valid)):
        repaired, share = repair_candles(raw)
        cases.append({"name": name, "raw": _as_json(raw), "repaired": repaired.tolist(), "share": share})
    return cases


def _other_calibration() -> Calibration:
    """The shipped calibration with factors that anchor, and shift the median."""
    shipped = Calibration.load(MODEL / "calibration.json")
    curves = {
        name: replace(curve, pooled=curve.pooled, groups={"crypto 1h": curve.groups["crypto 1h"]})
        for name, curve in shipped.curves.items()
    }
    knots = curves["anchor"].knots
    curves["anchor"] = replace(curves["anchor"], pooled=tuple(0.3 + 0.1 * i for i in range(len(knots))))
    curves["conformal q0.5"] = replace(
        curves["anchor"], pooled=tuple(0.2 - 0.1 * i for i in range(len(knots))), groups={}
    )
    curves["conformal q0.9"] = replace(curves["conformal q0.9"], pooled=tuple(-0.9 for _ in knots))
    return replace(shipped, curves=curves)


def _random_forecast(samples: int, horizon: int, level_error: float | None) -> Forecast:
    generator = np.random.default_rng(samples)
    candles = _sample().tail(50)
    close = float(candles.frame["close"].iloc[-1])
    steps = 0.004 * generator.standard_normal((samples, horizon, 5)) + 0.001
    closes = close * np.exp(np.cumsum(steps[..., 0], axis=1))
    opens = np.concatenate((np.full((samples, 1), close), closes[:, :-1]), axis=1) * np.exp(0.1 * steps[..., 1])
    highs = np.maximum(opens, closes) * np.exp(np.abs(steps[..., 2]))
    lows = np.minimum(opens, closes) * np.exp(-np.abs(steps[..., 3]))
    volume = 300 * np.exp(20 * steps[..., 4])
    paths = np.stack((opens, highs, lows, closes, volume, volume * closes), axis=-1)
    paths = repair_candles(np.round(paths, 4))[0]
    details = {} if level_error is None else {"level_error": level_error}
    future = future_times(candles.index, candles.interval, horizon)
    return Forecast(paths, future.times, candles, ForecastMetadata("simulated", details=details))


def calibration_cases() -> list[dict[str, Any]]:
    """Raw and corrected paths, by the shipped calibration and another one, and quantiles of both."""
    shipped, other = Calibration.load(MODEL / "calibration.json"), _other_calibration()
    cases = []
    for name, calibration, samples, horizon, group, error in (
        ("shipped", shipped, 12, 4, "crypto 1h", 0.002),
        ("shipped", shipped, 5, 30, None, None),
        ("other", other, 9, 6, None, -0.003),
        ("other", other, 2, 2, "unknown 1h", 0.001),
        ("other", other, 1, 3, "crypto 1h", None),
    ):
        raw = _random_forecast(samples, horizon, error)
        corrected = calibration.apply(raw, group=group, other_model=True)
        cases.append(
            {
                "calibration": name,
                "group": group,
                "levelError": error,
                "lastClose": raw.last_close,
                "samples": samples,
                "raw": raw.paths.tolist(),
                "corrected": corrected.paths.tolist(),
                "quantiles": sample_quantiles(corrected.channel("close"), LEVELS).tolist(),
            }
        )
    return cases


def _stub_logits(key: np.ndarray) -> np.ndarray:
    """Logits ``[S, V]`` of whole keys ``[S]``: multiples of an eighth, the same in every language."""
    return ((np.arange(VOCABULARY) * 37 + 11 * key[:, None]) % 29 - 14) / 8


def _stub_candles(s1: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """Normalised candles ``[..., 6]`` of tokens."""
    return ((s1[..., None] * 5 + s2[..., None] * 3 + 7 * np.arange(6)) % 33 - 16) / 16


def _stub_tokens(name: str, x: np.ndarray, stamps: np.ndarray, seed: int, samples: int) -> tuple[Any, np.ndarray]:
    """Tokens of the history, and those that the stub's logits give, which depend on the tokens and time before."""
    history = np.floor(np.abs(x[:, 3]) * 8).astype(np.int64) % VOCABULARY
    horizon = len(stamps)
    uniforms = keyed_uniforms(seed, name, range(samples), horizon)
    sampler = CounterBasedSampler(SamplingParams(), torch.from_numpy(uniforms)[None].float())
    own = np.zeros((samples, horizon, 2), np.int64)
    total = np.full(samples, int(history.sum()))  # of the tokens in the caches
    for step in range(horizon):
        position = len(x) + step - 1
        own[:, step, 0] = sampler(step, 0, torch.from_numpy(_stub_logits(total + position)).float()[None])[0].numpy()
        key = total + 3 * own[:, step, 0] + position
        own[:, step, 1] = sampler(step, 1, torch.from_numpy(_stub_logits(key)).float()[None])[0].numpy()
        total = total + own[:, step].sum(axis=1) + stamps[step].sum()
    return history, own


def forecast_cases() -> list[dict[str, Any]]:
    """Whole forecasts of a stub: its logits depend on the tokens and calendar features that its caches have seen."""
    calibration = Calibration.load(MODEL / "calibration.json")
    cases = []
    for rows, normalisation, horizon, samples, seed in ((60, "changes", 5, 20, 3), (12, "spread", 3, 150, 8)):
        candles = replace(_sample().tail(rows), symbol="SIM")
        future = future_times(candles.index, candles.interval, horizon)
        x, scaler = normalise(candles.frame[list(COLUMNS)].to_numpy(), CLIP, normalisation=normalisation)
        ahead = time_features(future.clock.local(future.times))
        history, own = _stub_tokens("SIM", x, ahead, seed, samples)
        last = scaler.inverse_transform_last(_stub_candles(history[-1:], history[-1:])[0])
        paths, share = repair_candles(scaler.inverse_transform(_stub_candles(own[..., 0], own[..., 1])))
        close = float(candles.frame["close"].iloc[-1])
        details = {"level_error": math.log(last[3] / close)} if last[3] > 0 else {}
        raw = Forecast(paths, future.times, candles, ForecastMetadata("kronos-nano", details=details))
        corrected = calibrate_forecast(raw, calibration)
        cases.append(
            {
                "text": candles.frame[list(COLUMNS)].reset_index().to_csv(index=False),
                "symbol": "SIM",
                "normalisation": normalisation,
                "clip": CLIP,
                "vocabulary": VOCABULARY,
                "horizon": horizon,
                "samples": samples,
                "seed": seed,
                "levels": LEVELS,
                "timestamps": [str(time) for time in future.times],
                "repaired": share,
                "raw": sample_quantiles(raw.channel("close"), LEVELS).tolist(),
                "rawPath": raw.paths[-1].tolist(),
                "group": corrected.metadata.details["calibration"]["group"],
                "corrected": sample_quantiles(corrected.channel("close"), LEVELS).tolist(),
                "correctedPath": corrected.paths[-1].tolist(),
            }
        )
    return cases


def bundled_cases() -> list[dict[str, Any]]:
    """Forecasts of the bundled model, raw and calibrated, which an export of it has to give up to float32."""
    predictor = kronos.KronosPredictor.from_pretrained(device="cpu")
    candles = replace(_sample().tail(90), symbol="SIM")
    cases = []
    for sampling in (SamplingParams(), SamplingParams(temperature=0.9, top_p=0.9)):
        options = {"horizon": 12, "samples": 16, "seed": 5, "sampling": sampling}
        raw = predictor.forecast(candles, **options, calibration=False)
        corrected = predictor.forecast(candles, **options)
        cases.append(
            {
                "text": candles.frame[list(COLUMNS)].reset_index().to_csv(index=False),
                "symbol": "SIM",
                "sampling": {"temperature": sampling.temperature, "topK": sampling.top_k, "topP": sampling.top_p},
                "horizon": raw.horizon,
                "samples": raw.samples,
                "seed": 5,
                "calibrated": corrected.metadata.calibrated,
                "raw": raw.channel("close").round(2).tolist(),
                "levels": LEVELS,
                "quantiles": np.round(sample_quantiles(corrected.channel("close"), LEVELS), 2).tolist(),
            }
        )
    return cases


def alias_cases() -> dict[str, Any]:
    """Names of columns."""
    lists = ("TIME", "DATE", "CLOCK", "TICK", "SYMBOL", "NAME", "FLAG")
    return {
        **{f"{name}_ALIASES": list(getattr(aliases, f"{name}_ALIASES")) for name in lists},
        "COLUMN_ALIASES": {column: list(names) for column, names in aliases.COLUMN_ALIASES.items()},
        "QUOTE_UNITS": list(aliases.QUOTE_UNITS),
    }


def other_calibration() -> dict[str, Any]:
    """The calibration that some cases name ``other``."""
    return _other_calibration().to_dict()


FILES: dict[str, Callable[[], Any]] = {
    "aliases.json": alias_cases,
    "bundled.json": bundled_cases,
    "calendars.json": calendar_cases,
    "calibration.json": calibration_cases,
    "csv.json": csv_cases,
    "forecasts.json": forecast_cases,
    "normalisation.json": normalisation_cases,
    "other_calibration.json": other_calibration,
    "random.json": random_cases,
    "repair.json": repair_cases,
    "sampling.json": sampling_cases,
}


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name, cases in FILES.items():
        text = json.dumps(cases(), ensure_ascii=False, allow_nan=False)
        (FOLDER / name).write_text(text.replace("}, {", "},\n{") + "\n", "utf-8")


if __name__ == "__main__":
    main()
