"""Measure a model and its calibration, next to an earlier model, for docs/quality.md and the model card.

    python scripts/measure_quality.py --data DIR --zero-shot DIR --model CANDIDATE --against EARLIER --out runs/quality
    python scripts/measure_quality.py --quick  # a few origins of simulated candles, to try the script

``--data`` holds candles, in sub-folders by market, with a splits.csv next to them or given by ``--splits``. Validation
dates fit the calibrations; test dates only measure. Whole files of ``--zero-shot`` measure: nothing is fitted there.

Forecasts are stored as those of `kronos calibrate` and `kronos evaluate` are, so an interrupted run resumes. Each table
is written as Markdown, and all figures as JSON: quality.json, evaluation/evaluation.json, zero-shot/evaluation.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos import KronosPredictor
from kronos.atomic import write_text
from kronos.calibration import PARTS, Calibration, CalibrationSet, apply_online, fit
from kronos.engines import LocalEngine
from kronos.errors import DataError, KronosError
from kronos.evaluation import (
    ALL,
    REFERENCE,
    AblationRow,
    Actuals,
    BaselineForecaster,
    Correction,
    Evaluation,
    Instrument,
    ModelForecaster,
    Plan,
    RollingOrigins,
    RollingSettings,
    ablate,
    apply_correction,
    baseline_forecasters,
    baseline_paths,
    calibration_set_of,
    cross_fitted,
    cutoffs,
    default_ablations,
    evaluate,
    find_splits,
    identity_of,
    load_instruments,
    make_plan,
    read_splits,
    run_rolling,
)
from kronos.evaluation.calibration import CALIBRATED, POOL_WITH, RAW, FittedCalibration, calibrate
from kronos.evaluation.rolling import measure_forecasts, stored_forecasts
from kronos.evaluation.scoring import equal_mean, equal_share, equal_skill, large_groups, score_paths
from kronos.evaluation.verdicts import word_of
from kronos.intervals import Interval
from kronos.progress import progress_bar
from kronos.sources.simulation import SimulatedSource

sys.path.insert(0, str(Path(__file__).resolve().parent))
import quality_tables as tables
from quality_tables import STEPS, HistoryRow, Skill

HORIZON = STEPS[-1]
VALIDATION_STRIDE, TEST_STRIDE = 11, 19  # neither shares a divisor with a session: every time of day is met
QUICK_STRIDES = (5, 11)
LEAST_CAP = 120  # so that no group falls below the `MIN_ORIGINS` of the means because of the cap
HISTORIES, HISTORY_STEPS = (8, 16, 32, 64, 128), (1, 8, 24)
REFERENCES = (REFERENCE, "garch-t")
NARROWED = 0.4
UNPOOLED = tuple(part for part in PARTS if part != "pooling")  # the parts that ship
POOLED = "calibrated and pooled"
NEWCOMER, FULL = "without its market", "with all markets"

log = logging.getLogger("quality")


@dataclass(frozen=True)
class Measurement:
    """What is measured, and where to.

    Attributes:
        candidate: The model.
        earlier: The model that it is compared with; None for none.
        predictors: Both models, by name.
        out: Folder of the results.
        settings: Samples and seed.
        workers: Number of processes.
        quick: Whether to leave out most baselines and the ablation of parts.
    """

    candidate: ModelForecaster
    earlier: ModelForecaster | None
    predictors: Mapping[str, KronosPredictor]
    out: Path
    settings: RollingSettings
    workers: int
    quick: bool = False

    @property
    def models(self) -> list[ModelForecaster]:
        """The models, the candidate first."""
        return [self.candidate, *([self.earlier] if self.earlier else [])]

    @property
    def baselines(self) -> list[BaselineForecaster]:
        """The baselines in the tables."""
        return [own for own in baseline_forecasters() if not self.quick or own.name in REFERENCES]


# Data ------------------------------------------------------------------------------


def load(folders: Sequence[Path]) -> tuple[Instrument, ...]:
    """Read all candles of some folders; of a folder with ``candles/``, those in there."""
    paths = [folder / "candles" if (folder / "candles").is_dir() else folder for folder in folders]
    with progress_bar("Reading candles") as progress:
        data = load_instruments(paths, progress=progress)
    for path, problem in data.skipped:
        log.warning("%s is left out: %s", path, problem)
    log.info("%d series of %s", len(data.instruments), ", ".join(data.groups))
    return data.instruments


def in_market_plans(options: argparse.Namespace) -> tuple[Plan, Plan]:
    """Origins on the validation and the test dates."""
    folders = [folder / "candles" if (folder / "candles").is_dir() else folder for folder in options.data]
    splits = read_splits(options.splits) if options.splits else find_splits(folders)
    if splits is None:
        raise DataError(f"There is no splits.csv next to {folders[0]}: give it with --splits.")
    instruments = load(options.data)
    strides = QUICK_STRIDES if options.quick else (VALIDATION_STRIDE, TEST_STRIDE)
    found = [
        make_plan(
            instruments, RollingOrigins(HORIZON, stride, max_origins=options.max_origins or None), splits.dates(dates)
        )
        for stride, dates in zip(strides, ("validation", "test"), strict=True)
    ]
    return found[0], found[1]


def spread(plan: Plan, most: int) -> Plan:
    """At most so many origins of each group, evenly over its dates."""
    table = plan.table().sort_values(["date", "series"], kind="stable")
    rows = [own.index.to_numpy() for _, own in table.groupby("group")]
    picks = [own[np.unique(np.linspace(0, len(own) - 1, min(most, len(own))).round().astype(int))] for own in rows]
    return plan.select(np.sort(np.concatenate(picks)))


def write_sample(folder: Path) -> tuple[Path, Path]:
    """Write simulated candles of two markets with split dates, and of an unknown market; return both folders."""
    starts = {"crypto": "2025-01-06", "fx": "2025-03-03", "zero_shot": "2025-05-05"}
    lines = ["market,validation_from,test_from"]
    for seed, (market, start) in enumerate(starts.items(), start=1):
        first = pd.Timestamp(start, tz="UTC")
        end = first + pd.Timedelta(hours=640 if market != "zero_shot" else 240)
        frame = SimulatedSource(seed).candles("BTC-USDT", Interval.parse("1h"), start=first, end=end).frame
        path = folder / ("zero_shot/metal" if market == "zero_shot" else f"candles/{market}") / f"{market}_1h.csv"
        write_text(path, frame.rename_axis("timestamps").to_csv())
        lines.append(f"{market},{first + pd.Timedelta(hours=60):%Y-%m-%d},{first + pd.Timedelta(hours=440):%Y-%m-%d}")
    write_text(folder / "splits.csv", "\n".join(lines[:-1]) + "\n")
    return folder / "candles", folder / "zero_shot"


# Measurements ----------------------------------------------------------------------


def learn(plan: Plan, measurement: Measurement) -> FittedCalibration:
    """Fit the candidate's calibration on the validation dates, with an ablation of the parts."""
    settings = {} if measurement.quick else default_ablations()
    compare = {name: parts for name, parts in settings.items() if parts and parts != PARTS}
    folder = measurement.out / "calibration"
    with progress_bar("Validation dates") as progress:
        found = calibrate(
            plan, measurement.candidate, folder / "run", measurement.settings, compare=compare, steps=STEPS,
            engine=LocalEngine(measurement.workers), progress=progress,
        )  # fmt: skip
    found.calibration.save(folder / "pooled.json")
    return found


def unpooled(past: CalibrationSet) -> Calibration:
    """Fit the parts that ship."""
    return fit(past, UNPOOLED)


def earlier_calibration(plan: Plan, measurement: Measurement, refit: bool) -> Calibration:
    """The calibration that ships with the earlier model; fitted to the validation dates if there is none."""
    model = measurement.earlier
    assert model is not None
    network = measurement.predictors[model.name].model
    located = network.located
    if not refit and located is not None and located.calibration is not None and network.unchanged:
        shipped = Calibration.load(located.calibration)
        if not shipped.identity.difference_from(identity_of(model)):
            log.info("%s has its own calibration", model.name)
            return shipped
    log.info("The calibration of %s is fitted to the same validation dates", model.name)
    with progress_bar(f"Validation dates: {model.name}") as progress:
        folder = measurement.out / "calibration" / "run"
        paths = run_rolling(
            plan, [model], folder, measurement.settings, engine=LocalEngine(measurement.workers), progress=progress
        )  # fmt: skip
    return unpooled(calibration_set_of(plan, Actuals.of(plan), paths[model.name], identity_of(model)))


def measure(
    plan: Plan, measurement: Measurement, calibrations: Mapping[str, Sequence[tuple[str, Calibration]]], folder: str
) -> Evaluation:
    """Forecast and score at all origins of a plan: both models raw, calibrated and adaptive, and all baselines."""
    corrections = [
        Correction(f"{model} {name}", model, own) for model, found in calibrations.items() for name, own in found
    ]
    models, out = measurement.models, measurement.out / folder
    with progress_bar(f"Forecasts: {folder}") as progress:
        found = evaluate(
            plan, models, out / "run", measurement.settings,
            baselines=measurement.baselines, corrections=corrections, adaptive=True, steps=STEPS,
            trained_until={name: cutoffs(own, plan) for name, own in measurement.predictors.items()},
            engine=LocalEngine(measurement.workers), progress=progress,
        )  # fmt: skip
    for warning in found.warnings:
        log.warning("%s", warning)
    write_text(out / "evaluation.json", json.dumps(found.to_dict(), indent=2) + "\n")
    return found


def skills(evaluation: Evaluation, pairs: Sequence[tuple[str, str]]) -> list[Skill]:
    """Skill of the evaluated contenders against the references, and paired differences of some, in every group."""
    scores, found = evaluation.scores.steps, []
    for step in STEPS:
        rows, overlap = scores[scores["step"] == step], evaluation.plan.rolling.overlap(step)
        losses = rows.pivot(index="origin", columns="forecaster", values="crps")
        labels = rows.drop_duplicates("origin").set_index("origin").loc[losses.index]
        large = labels["group"].isin(large_groups(labels["group"]))
        groups = {ALL: large, **{group: labels["group"] == group for group in evaluation.scores.groups}}
        subjects = [(name, None) for name in evaluation.evaluated] + list(pairs)
        for reference in (name for name in REFERENCES if name in losses):
            for group, members in groups.items():
                for name, minus in subjects:
                    own = losses.loc[members, list({name, reference, *([minus] if minus else [])})].dropna()
                    if not len(own):
                        continue
                    names, dates = labels.loc[own.index, "group"], labels.loc[own.index, "date"]
                    # A difference of skills is (loss of the other − loss) / loss of the reference.
                    lost = own[name] if minus is None else own[reference] - (own[minus] - own[name])
                    skill = equal_skill(lost, own[reference], names, dates, overlap)
                    crps = equal_mean(own[name], names)
                    word = word_of(skill, 0.0)
                    found.append(Skill(name, minus, reference, group, step, len(own), crps, skill, word))
    return found


def short_histories(plan: Plan, measurement: Measurement, calibration: Calibration) -> list[HistoryRow]:
    """Coverage of the 80 % band after short histories, at the same origins for every length."""
    model, actuals = measurement.candidate, Actuals.of(plan)
    correction = Correction(f"{model.name} {CALIBRATED}", model.name, calibration)
    found = []
    for candles in HISTORIES:
        own = replace(plan, rolling=replace(plan.rolling, lookback=candles))
        folder = measurement.out / "histories" / str(candles) / "run"
        try:
            with progress_bar(f"Histories of {candles} candles") as progress:
                raw = run_rolling(
                    own, [model], folder, measurement.settings, engine=LocalEngine(measurement.workers),
                    progress=progress, whole_candles=False,
                )[model.name]  # fmt: skip
        except DataError as error:
            log.info("Histories of %d candles: %s", candles, error)
            names = (model.name, correction.name)
            found += [HistoryRow(candles, name, step, 0, None) for name in names for step in HISTORY_STEPS]
            continue
        for paths in (raw, apply_correction(own, raw, correction)):
            scores = score_paths(actuals, paths, HISTORY_STEPS)
            for step in HISTORY_STEPS:
                rows = scores[scores["step"] == step]
                labels = actuals.origins.iloc[rows["origin"]]
                overlap = plan.rolling.overlap(step)
                share = equal_share(rows["inside_80"], labels["group"], labels["date"], overlap)
                found.append(HistoryRow(candles, paths.name, step, len(rows), share))
    return found


def newcomers(past: CalibrationSet, stride: int) -> list[AblationRow]:
    """What a newcomer's market gets: forecasts of each market with the factors of all markets but it.

    Those with all markets are cross-fitted by dates, because a fit to the scored forecasts would flatter itself.
    """
    markets, returns = np.array([group.rpartition(" ")[0] for group in past.group]), np.array(past.returns)
    scored = np.ones(len(past), dtype=np.bool_)
    if len(np.unique(markets)) < 2:
        return []
    for market in np.unique(markets):
        own = markets == market
        try:
            calibration = fit(past.select(~own), UNPOOLED)
        except DataError as error:
            log.warning("Without %s no calibration can be fitted: %s", market, error)
            scored &= ~own
            continue
        returns[own] = calibration.apply_set(past.select(own)).returns
    if not scored.any():
        return []
    settings = {RAW: past, NEWCOMER: replace(past, returns=returns), FULL: cross_fitted(past, UNPOOLED)}
    return ablate(past.select(scored), {name: own.select(scored) for name, own in settings.items()}, STEPS, stride)


def narrowed(past: CalibrationSet) -> CalibrationSet:
    """Narrow the bands of the same forecasts far too much."""
    middle = np.median(past.returns, axis=1, keepdims=True)
    return replace(past, returns=(middle + NARROWED * (past.returns - middle)).astype(np.float32))


def calibration_tables(
    evaluation: Evaluation, measurement: Measurement, fitted: FittedCalibration, calibration: Calibration
) -> tuple[dict[str, str], dict[str, Sequence[AblationRow]]]:
    """The candidate's calibration on the test dates: by setting, by cell, adaptive, and the repair of narrow bands."""
    plan, model, past = evaluation.plan, measurement.candidate, fitted.calibration_set
    folder, seed = measurement.out / "evaluation" / "run", measurement.settings.seed
    near = baseline_paths(plan, POOL_WITH, folder, seed, engine=LocalEngine(measurement.workers))
    trials = calibration_set_of(plan, evaluation.actuals, evaluation.paths[model.name], identity_of(model), near)
    judged = {
        RAW: trials,
        CALIBRATED: calibration.apply_set(trials),
        POOLED: fitted.calibration.apply_set(trials),
    }
    adaptive, repaired_adaptive = "calibrated, adaptive", "repaired, adaptive"
    judged[adaptive] = apply_online(judged[CALIBRATED], calibration.apply_set(past))
    narrow, earlier = narrowed(trials), narrowed(past)
    repair = fit(earlier, UNPOOLED)
    repaired = {RAW: narrow, "repaired": repair.apply_set(narrow)}
    repaired["repaired and pooled"] = fit(earlier).apply_set(narrow)
    repaired[repaired_adaptive] = apply_online(repaired["repaired"], repair.apply_set(earlier))
    stride = plan.rolling.step
    found, mended = ablate(trials, judged, STEPS, stride), ablate(narrow, repaired, STEPS, stride)
    return {
        "test-ablation": tables.setting_tables(found),
        "cells": tables.cell_table(found, CALIBRATED, stride),
        "cells-pooled": tables.cell_table(found, POOLED, stride),
        "cells-adaptive": tables.cell_table(found, adaptive, stride),
        "narrowed": tables.setting_tables(mended),
        "narrowed-cells": tables.cell_table(mended, "repaired", stride),
        "narrowed-cells-adaptive": tables.cell_table(mended, repaired_adaptive, stride),
    }, {"test_ablation": found, "narrowed": mended}


# The whole measurement ---------------------------------------------------------------


def log_estimate(plans: Mapping[str, Plan], measurement: Measurement, validated: Sequence[ModelForecaster]) -> None:
    """Log how many forecasts are missing, and about how long they take."""
    seconds = 0.0
    for own in [*measurement.models, *measurement.baselines]:
        parts = {"calibration": own in validated, "evaluation": True, "zero-shot": True}
        parts |= {f"histories/{n}": own is measurement.candidate for n in HISTORIES}
        missing = sum(
            len(plans[name]) - stored_forecasts(plans[name], measurement.out / name / "run", own.name)
            for name, needed in parts.items()
            if needed and name in plans
        )
        if missing:
            each = measure_forecasts(plans["evaluation"], own, measurement.settings)
            seconds += missing * each
            log.info("%s: %s forecasts of %.3f s", own.name, f"{missing:,}", each)
    log.info("About %.0f min of forecasts with 1 process (%d are used)", seconds / 60, measurement.workers)


def write(out: Path, found: Mapping[str, str]) -> None:
    """Write each table to a file and to the terminal."""
    for name, text in found.items():
        write_text(out / f"{name}.md", text)
        print(f"\n## {name}\n\n{text}", flush=True)


def forecasters(refs: Sequence[str]) -> tuple[list[ModelForecaster], dict[str, KronosPredictor]]:
    """Models as forecasters, named after their folders (that of `model` after the one above it)."""
    predictors: dict[str, KronosPredictor] = {}
    for ref in refs:
        folder = Path(ref).parent.resolve() if Path(ref).name == "model" else Path(ref)
        name = folder.name
        predictors[f"{name} (earlier)" if name in predictors else name] = KronosPredictor.from_pretrained(
            ref, device="cpu"
        )
    return [ModelForecaster(own, name) for name, own in predictors.items()], predictors


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, action="append", default=[], metavar="DIR", help="candles with split dates"
    )
    parser.add_argument("--splits", type=Path, metavar="FILE", help="split dates, if not next to the candles")
    parser.add_argument("--zero-shot", type=Path, action="append", default=[], metavar="DIR", help="only measured")
    parser.add_argument("--model", default="kronos-nano", help="zoo name, hub id or folder")
    parser.add_argument("--against", metavar="MODEL", help="the earlier model")
    parser.add_argument("--refit", action="store_true", help="fit the earlier model's calibration, instead of its own")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--max-origins", type=int, default=LEAST_CAP, help="of a group, on each set of dates; 0: all")
    parser.add_argument(
        "--zero-shot-origins", type=int, help="of a group, of the zero-shot candles (default: --max-origins)"
    )
    parser.add_argument("--history-origins", type=int, default=12, help="of a group, for short histories")
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--validation-only", action="store_true", help="skip the test dates and zero-shot candles")
    parser.add_argument("--quick", action="store_true", help="few origins and samples, of simulated candles by default")
    options = parser.parse_args(arguments)
    if options.quick:
        options.samples, options.max_origins, options.history_origins = 4, 70, 4
        if not options.data:
            data, zero_shot = write_sample(options.out / "data")
            options.data, options.zero_shot = [data], [zero_shot]
    if options.zero_shot_origins is None:
        options.zero_shot_origins = options.max_origins
    for name, cap in (("max", options.max_origins), ("zero-shot", options.zero_shot_origins)):
        if not options.quick and 0 != cap < LEAST_CAP:
            parser.error(f"--{name}-origins {cap} leaves too few for the means: choose at least {LEAST_CAP}")
    if not options.data:
        parser.error("give candles with --data, or try --quick")
    known = [path.resolve() for path in options.data]
    for path in options.zero_shot:
        if any(path.resolve().is_relative_to(one) or one.is_relative_to(path.resolve()) for one in known):
            parser.error(f"--zero-shot {path} overlaps --data: its candles would be fitted to")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, and write the tables."""
    options = parse(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    started = time.monotonic()
    models, predictors = forecasters([options.model, *([options.against] if options.against else [])])
    candidate, earlier = models[0], models[1] if len(models) > 1 else None
    settings = RollingSettings(options.samples, 1)
    measurement = Measurement(candidate, earlier, predictors, options.out, settings, options.workers, options.quick)
    validation, test = in_market_plans(options)
    plans = {"calibration": validation, "evaluation": test}
    if options.zero_shot:
        rolling = replace(test.rolling, max_origins=options.zero_shot_origins or None)
        plans["zero-shot"] = make_plan(load(options.zero_shot), rolling)
    short = spread(test, options.history_origins)
    write(options.out, {"origins": tables.origin_table(plans, options.max_origins, options.zero_shot_origins)})
    log_estimate(
        {**plans, **{f"histories/{n}": short for n in HISTORIES}}, measurement, models if options.refit else [candidate]
    )

    fitted = learn(validation, measurement)
    calibration = unpooled(fitted.calibration_set)
    calibration.save(options.out / "calibration" / "calibration.json")
    unknown = newcomers(fitted.calibration_set, validation.rolling.step)
    document: dict[str, Any] = {"options": {key: str(value) for key, value in vars(options).items()}}
    document |= {"ablation": fitted.ablation, "newcomers": unknown}
    write(
        options.out,
        {
            "ablation": tables.setting_tables(fitted.ablation),
            "weights": tables.weight_table(fitted.calibration, list(fitted.calibration_set.counts())),
            "newcomers": tables.newcomer_table(unknown, (RAW, NEWCOMER, FULL)),
        },
    )
    if not options.validation_only:
        calibrations = {candidate.name: [(CALIBRATED, calibration), (POOLED, fitted.calibration)]}
        if earlier:
            calibrations[earlier.name] = [(CALIBRATED, earlier_calibration(validation, measurement, options.refit))]
        pairs = []
        if earlier:
            pairs = [(f"{candidate.name}{kind}", f"{earlier.name}{kind}") for kind in ("", f" {CALIBRATED}")]
        for name, prefix in (("evaluation", ""), ("zero-shot", "zero-shot-")):
            if name not in plans:
                continue
            own = {model: found[:1] for model, found in calibrations.items()} if prefix else calibrations
            evaluation = measure(plans[name], measurement, own, name)
            found = skills(evaluation, pairs)
            named = tables.evaluation_tables(evaluation, found, [model.name for model in measurement.models])
            document[f"{prefix}skills"] = found
            if not prefix:
                more, rows = calibration_tables(evaluation, measurement, fitted, calibration)
                named |= more
                document |= rows
            write(options.out, {f"{prefix}{key}": text for key, text in named.items()})
        histories = short_histories(short, measurement, calibration)
        document["histories"] = histories
        write(options.out, {"histories": tables.history_table(histories, HISTORY_STEPS)})
    write_text(options.out / "quality.json", json.dumps(document, default=asdict, indent=2) + "\n")
    log.info("Finished after %.0f min", (time.monotonic() - started) / 60)


if __name__ == "__main__":
    try:
        main()
    except KronosError as error:
        raise SystemExit(str(error)) from error
