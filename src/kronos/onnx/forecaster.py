"""Forecasts with exported files in ONNX Runtime: the loop that programs in other languages run, in Python.

Random numbers, temperature and filters are those of `KronosPredictor`, so both draw the same tokens, except where a
uniform number lies within rounding of the border between two tokens.

Shapes: S samples, T rows of history, H steps, L layers, h heads, e head width, ec width of the s2 attention's heads.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kronos import provenance
from kronos.calendars import FutureTimes
from kronos.candles import COLUMNS, Candles
from kronos.errors import CheckpointError, DataError, ParameterError
from kronos.forecasts import Forecast, ForecastMetadata, repair_candles
from kronos.inference.batching import BatchLimits, SampledPaths, plan_batches
from kronos.inference.engine import TokenSampler, check_horizon
from kronos.inference.metadata import level_error, sampling_details
from kronos.inference.sampling import CounterBasedSampler, SamplingParams
from kronos.normalisation import normalise
from kronos.onnx.manifest import GRAPHS, Manifest
from kronos.preprocessing import ModelInput, Timestamps, as_candles, as_index, resolve_future, time_features
from kronos.rng import keyed_uniforms

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


class OnnxForecaster:
    """The graphs of an export, loaded into ONNX Runtime on the CPU.

    Args:
        folder: A folder that `export_onnx` or ``kronos models export`` wrote.
        threads: CPU threads; None leaves their number to ONNX Runtime.

    Attributes:
        manifest: The export's manifest.

    Raises:
        CheckpointError: If a file is missing, is not the one that was exported, or cannot be loaded.
        ParameterError: If the package ``onnxruntime`` is missing.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.load(folder)
        runtime = _import_onnxruntime()
        self._version = str(runtime.__version__)
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors, which are raised as well
        if threads is not None:
            options.intra_op_num_threads = threads
        self._encode, self._decode, self._step, self._fine = (self._session(runtime, options, name) for name in GRAPHS)

    def __repr__(self) -> str:
        manifest = self.manifest
        return f"<OnnxForecaster {manifest.name}: context {manifest.context}, {manifest.weights} weights>"

    def forecast(
        self,
        candles: Candles,
        horizon: int = 24,
        *,
        samples: int | None = None,
        seed: int | None = None,
        sampling: SamplingParams | str = "default",
        timestamps: Timestamps | None = None,
    ) -> Forecast:
        """Sample future candles of one series; the paths are raw.

        Args:
            candles: The history; at most its last ``context − horizon`` candles are used.
            horizon: Candles to forecast.
            samples: Number of sample paths; by default that of ``sampling``.
            seed: Random seed, as for `KronosPredictor.forecast`.
            sampling: A preset or parameters.
            timestamps: Timestamps of the future candles; from the calendar by default.

        Raises:
            DataError: If the history cannot be used.
            ParameterError: If a parameter is out of range.
        """
        manifest, history = self.manifest, as_candles(candles)
        check_horizon(horizon, manifest.context, manifest.least_history)
        if len(history) < max(2, manifest.least_history):
            raise DataError(
                f"{manifest.name} needs at least {max(2, manifest.least_history)} candles of history; got "
                f"{len(history)}."
            )
        name, params = history.symbol or "", SamplingParams.resolve(sampling, samples, seed)
        used = history.tail(max(2, manifest.context - horizon))
        times = None if timestamps is None else as_index(timestamps, "timestamps")
        future = resolve_future(name, history, horizon, times)
        number = secrets.randbelow(2**31) if params.seed is None else params.seed
        raw = self.sample_paths(self.prepare(used, future), name, replace(params, seed=number))
        if not history.has_volume:
            raw.paths[..., 4:] = 0.0
        paths, repaired = repair_candles(raw.paths)
        metadata = self._metadata(name, history, len(used), future, replace(params, seed=number))
        metadata = metadata.with_details(level_error=level_error(raw.last, history))
        return Forecast(paths, future.times, history, metadata, repaired)

    def prepare(self, history: Candles, future: FutureTimes) -> ModelInput:
        """Normalise a history and compute its calendar features."""
        values = history.frame[list(COLUMNS)].to_numpy(dtype=np.float64)
        x, scaler = normalise(values, self.manifest.clip, normalisation=self.manifest.normalisation)
        known, ahead = (time_features(future.clock.local(times)) for times in (history.index, future.times))
        return ModelInput(x, known, ahead, scaler, future.times)

    def sample_paths(self, prepared: ModelInput, name: str, params: SamplingParams) -> SampledPaths:
        """Sample paths of a prepared history.

        Args:
            prepared: From `prepare`.
            name: The series' name, which keys the random numbers.
            params: Temperature, filters, number of paths, seed.

        Raises:
            ParameterError: If history and horizon together exceed the context.
        """
        tokens, own = self.sample_tokens(prepared, name, params)
        s1, s2 = (np.ascontiguousarray(own[..., part]) for part in range(2))
        history = {"history_s1": tokens[0], "history_s2": tokens[1]}
        last, values = self._decode.run(["last", "values"], {**history, "s1": s1, "s2": s2})
        paths, known = prepared.restore(values.astype(np.float64)), prepared.restore_last(last.astype(np.float64))
        return SampledPaths(np.asarray(paths, np.float64), np.asarray(known, np.float64))

    def sample_tokens(self, prepared: ModelInput, name: str, params: SamplingParams) -> tuple[tuple[Ids, Ids], Ids]:
        """Tokens of the history, ``[1, T]`` each, and of the sample paths, ``[S, H, 2]``; see `sample_paths`."""
        horizon, rows, context = len(prepared.y_stamp), len(prepared.x), self.manifest.context
        if rows + horizon > context:
            raise ParameterError(
                f"A history of {rows} candles and a horizon of {horizon} exceed the context of {context}: exported "
                f"graphs have no sliding window, so pass at most {context - horizon} candles."
            )
        s1, s2 = self._encode.run(["s1", "s2"], {"x": prepared.x[None]})
        shapes = self.manifest.shapes
        row_bytes = 2 * 4 * (shapes.layers + 1) * shapes.width
        parts = []
        for batch in plan_batches([rows], params.samples, horizon, BatchLimits.fixed(row_bytes)):
            uniforms = keyed_uniforms(params.seed or 0, name, batch.paths, horizon)
            sampler = CounterBasedSampler(params, torch.from_numpy(uniforms)[None].float())
            parts.append(self.generate((s1, s2), prepared, sampler, len(batch.paths)))
        return (s1, s2), np.concatenate(parts)

    def generate(self, tokens: tuple[Ids, Ids], prepared: ModelInput, sampler: TokenSampler, samples: int) -> Ids:
        """Generate all steps of some paths.

        Args:
            tokens: Tokens of the history, ``[1, T]`` each.
            prepared: Calendar features of history and steps.
            sampler: Picks tokens from logits.
            samples: Number of paths.

        Returns:
            Coarse and fine ids ``[S, H, 2]``.
        """
        rows, horizon = tokens[0].shape[1], len(prepared.y_stamp)
        shapes = self.manifest.shapes
        h, e, ec = shapes.heads, shapes.head_width, shapes.cross_width
        nothing = np.zeros((shapes.layers, 1, h, 0, e), np.float32)
        state = self._run_step(tokens, prepared.x_stamp, 0, (nothing[:, 0], nothing[:, 0]), (nothing, nothing))
        shared = state["keys"][:, 0], state["values"][:, 0]
        shared_cross = state["cross_keys"][0], state["cross_values"][0]
        own = tuple(np.zeros((shapes.layers, samples, h, 0, e), np.float32) for _ in range(2))
        own_cross = tuple(np.zeros((samples, shapes.cross_heads, 0, ec), np.float32) for _ in range(2))
        ids = np.empty((samples, horizon, 2), np.int64)
        for step in range(horizon):
            position = rows + step - 1
            if step > 0:
                s1, s2 = (ids[:, step - 1 : step, part] for part in range(2))
                state = self._run_step((s1, s2), prepared.y_stamp[step - 1 : step], position, shared, own)
                own = _append(own, (state["keys"], state["values"]), axis=3)
                own_cross = _append(own_cross, (state["cross_keys"], state["cross_values"]), axis=2)
            ids[:, step, 0] = _pick(sampler, step, 0, state["s1_logits"])
            feeds = {"hidden": state["hidden"], "s1": ids[:, step, 0], "position": np.array(position)}
            feeds |= {"shared_cross_keys": shared_cross[0], "shared_cross_values": shared_cross[1]}
            feeds |= {"own_cross_keys": own_cross[0], "own_cross_values": own_cross[1]}
            [logits] = self._fine.run(["s2_logits"], feeds)
            ids[:, step, 1] = _pick(sampler, step, 1, logits)
        return ids

    def _run_step(
        self,
        tokens: tuple[Ids, Ids],
        stamps: Ids,
        position: int,
        shared: tuple[Floats, ...],
        own: tuple[Floats, ...],
    ) -> dict[str, Floats]:
        """Results of ``step.onnx`` by name."""
        feeds: dict[str, NDArray[Any]] = {"s1": tokens[0], "s2": tokens[1], "stamps": stamps}
        feeds |= {"position": np.array(position), "shared_keys": shared[0], "shared_values": shared[1]}
        feeds |= {"own_keys": own[0], "own_values": own[1]}
        names = ["hidden", "s1_logits", "keys", "values", "cross_keys", "cross_values"]
        return dict(zip(names, self._step.run(names, feeds), strict=True))

    def _session(self, runtime: Any, options: Any, name: str) -> Any:
        """Load one graph, whose own metadata must be that of the manifest."""
        path, data = self.folder / name, self.manifest.read(self.folder, name)
        try:
            session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes have no common base
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{path} cannot be loaded ({reason}): export it again.") from error
        properties = session.get_modelmeta().custom_metadata_map
        expected = self.manifest.properties()
        if not expected.keys() & properties.keys():
            raise CheckpointError(f"{path} is a graph of another program: export the model again.")
        different = [key for key, value in expected.items() if properties.get(key) != value]
        if different:
            raise CheckpointError(
                f"{path} belongs to another export ({different[0]} is {properties.get(different[0])!r}): "
                "export the model again."
            )
        return session

    def _metadata(
        self, name: str, history: Candles, used: int, future: FutureTimes, params: SamplingParams
    ) -> ForecastMetadata:
        """Metadata with the weights' hashes, so that the model's calibration fits."""
        manifest = self.manifest
        details = {
            "series": name,
            "seed": params.seed,
            "sampling": sampling_details(params),
            "samples": params.samples,
            "horizon": len(future.times),
            "lookback": used,
            "model": manifest.model.model_dump(),
            "tokenizer": manifest.tokenizer.model_dump(),
            "max_context": manifest.context,
            "weights": manifest.weights,
            "device": "cpu",
            "versions": {**provenance.versions(), "onnxruntime": self._version},
            "created": provenance.now_utc(),
        }
        return ForecastMetadata(
            model=manifest.name,
            details=details,
            calendar=future.calendar,
            calendar_basis=future.basis,
            simulated=history.simulated,
            notes=(f"Raw: computed by ONNX Runtime from {manifest.weights} weights.",),
        )


def _append(rows: tuple[Floats, ...], new: tuple[Floats, ...], axis: int) -> tuple[Floats, ...]:
    """Keys and values with those of new rows."""
    return tuple(np.concatenate(pair, axis=axis) for pair in zip(rows, new, strict=True))


def _pick(sampler: TokenSampler, step: int, head: int, logits: Floats) -> Ids:
    """Sampled ids ``[S]`` from logits ``[1 or S, V]``."""
    ids: Ids = sampler(step, head, torch.from_numpy(logits)[None])[0].numpy()
    return ids


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ParameterError("Running an export needs the package onnxruntime: install the extra 'onnx'.") from error
    return onnxruntime
