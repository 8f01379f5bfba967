"""Measure a model and its calibration for docs/quality.md: ablation on validation dates, results on test dates.

    python scripts/measure_quality.py ../shared/data --out runs/quality

The script uses the same inputs and folders as `kronos calibrate` and `kronos evaluate`, so that each can resume the
other's runs. It writes the calibration and each table of docs/quality.md as Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import kronos
from kronos.atomic import write_text
from kronos.calibration import PARTS, Calibration, CalibrationSet, apply_online, fit
from kronos.evaluation import (
    ALL,
    Actuals,
    Contender,
    Correction,
    Evaluation,
    ModelForecaster,
    Plan,
    RollingOrigins,
    RollingSettings,
    baseline_paths,
    calibration_set_of,
    evaluate,
    identity_of,
    make_plan,
)
from kronos.evaluation.ablation import AblationRow, ablate, default_ablations
from kronos.evaluation.aggregate import aggregate_scores, format_steps
from kronos.evaluation.calibration import CALIBRATED, POOL_WITH, FittedCalibration, calibrate
from kronos.evaluation.dates import read_splits
from kronos.evaluation.instruments import load_instruments
from kronos.metrics import Estimate

STEPS = (1, 4, 8, 24)
VALIDATION_STRIDE, TEST_STRIDE = 11, 19  # neither shares a divisor with a session: every time of day is met
BANDS = ("50", "80", "95")
LEAST = 400  # independent origins of a cell that is checked against the bound
POINTS = 0.03  # the bound, unless two standard errors are more
NARROWED = 0.4
WITHOUT = "calibrated, not pooled"
ADAPTED = "calibrated, adaptive"
COVERAGE = "Coverage of the 50 / 80 / 95 % bands:"


def plans(data: Path) -> tuple[Plan, Plan]:
    """Origins on the validation and the test dates of the split."""
    instruments = load_instruments([str(data / "candles")]).instruments
    splits = read_splits(data / "splits.csv")
    return (
        make_plan(instruments, RollingOrigins(24, stride=VALIDATION_STRIDE), splits.dates("validation")),
        make_plan(instruments, RollingOrigins(24, stride=TEST_STRIDE), splits.dates("test")),
    )


def narrowed(trials: CalibrationSet) -> CalibrationSet:
    """Narrow the bands of the same forecasts far too much."""
    middle = np.median(trials.returns, axis=1, keepdims=True)
    return replace(trials, returns=(middle + NARROWED * (trials.returns - middle)).astype(np.float32))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text."""
    lines = [f"| {' | '.join(header)} |", f"|---|{'--:|' * (len(header) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def by_setting(found: Sequence[AblationRow], group: str, what: str) -> str:
    """One row per setting and one column per step, with the CRPS or the coverages."""
    cells = {(one.setting, one.step): one for one in found if one.group == group}
    names = list(dict.fromkeys(setting for setting, _ in cells))

    def told(one: AblationRow) -> str:
        if what == "crps":
            gain = "" if one.gain.estimate == 0 else f" ({-one.gain.estimate:+.1%})"
            return f"{one.crps:.3f}{gain}"
        return " / ".join(f"{one.coverage[band].estimate:.0%}".rstrip("%") for band in BANDS)

    header = ["forecasts", *(format_steps(step) for step in STEPS)]
    return markdown(header, [[name, *(told(cells[name, step]) for step in STEPS)] for name in names])


def confirmed(evaluation: Evaluation) -> str:
    """CRPS of every contender on the test dates, with the skill against the reference."""
    cells = {(one.forecaster, one.step): one for one in evaluation.aggregates if one.group == ALL}

    def told(name: str, step: int) -> str:
        one = cells.get((name, step))
        if one is None:
            return "–"
        return f"{one.crps:.3f}" if one.skill is None else f"{one.crps:.3f} ({interval(one.skill)})"

    names = [one.name for one in evaluation.contenders]
    return markdown(
        ["CRPS (skill)", *(format_steps(step) for step in STEPS)],
        [[name, *(told(name, step) for step in STEPS)] for name in names],
    )


def card(evaluation: Evaluation) -> str:
    """CRPS of every contender with the coverage of the 80 % band; the lowest of each step in bold."""
    cells = {(one.forecaster, one.step): one for one in evaluation.aggregates if one.group == ALL}
    least = {step: min(f"{one.crps:.3f}" for (_, at), one in cells.items() if at == step) for step in STEPS}

    def told(subject: Contender, step: int) -> str:
        one = cells[subject.name, step]
        crps = f"{one.crps:.3f}"
        crps = f"**{crps}**" if crps == least[step] else crps
        return crps if subject.point else f"{crps} ({one.coverage['80'].estimate:.0%})"

    return markdown(
        ["forecasts", *(format_steps(step) for step in STEPS)],
        [[one.name, *(told(one, step) for step in STEPS)] for one in evaluation.contenders],
    )


def against(evaluation: Evaluation, rivals: Sequence[str] = ("historical-volatility", "garch-t")) -> str:
    """Skill of the evaluated models against each reference, with its interval."""
    rows = []
    for rival in rivals:
        figures = aggregate_scores(evaluation.scores, rival, evaluation.plan.rolling)
        cells = {(one.forecaster, one.step): one.skill for one in figures if one.group == ALL}
        for name in (*evaluation.evaluated, *(one for one in rivals if one != rival)):
            found = [cells[name, step] for step in STEPS]
            rows.append([f"{name} against {rival}", *(interval(one) if one else "–" for one in found)])
    return markdown(["skill", *(format_steps(step) for step in STEPS)], rows)


def cells_against(evaluation: Evaluation, name: str) -> str:
    """CRPS of a contender and of the reference in each cell with enough origins."""
    cells = {(one.forecaster, one.group, one.step): one for one in evaluation.aggregates if one.group != ALL}
    rows = []
    for (who, group, step), one in cells.items():
        if who == name and step in STEPS and one.n >= LEAST and one.skill is not None:
            base = cells[evaluation.reference, group, step].crps
            rows.append([group, str(step), f"{one.n:,}", f"{base:.3f}", f"{one.crps:.3f}", interval(one.skill)])
    return markdown(["market", "h", "n", evaluation.reference, name, "skill"], rows)


def interval(one: Estimate) -> str:
    """Percent with the 95 % interval."""
    return f"{one.estimate:+.1%}, {one.low:+.1%} to {one.high:+.1%}"


def cells(
    found: Sequence[AblationRow], name: str, stride: int
) -> Iterator[tuple[AblationRow, AblationRow, dict[str, float]]]:
    """Raw and calibrated figures of each cell with enough independent origins, and the bound of each band."""
    every = {(one.setting, one.group, one.step): one for one in found}
    for (setting, group, step), one in every.items():
        independent = one.n / max(1.0, step / stride)
        if setting == name and group != ALL and independent >= LEAST:
            errors = {band: (hit.high - hit.low) / (2 * 1.96) for band, hit in one.coverage.items()}
            yield every["raw", group, step], one, {band: max(POINTS, 2 * error) for band, error in errors.items()}


def cell_table(found: Sequence[AblationRow], name: str, stride: int) -> str:
    """Coverage and CRPS of each cell, raw and calibrated; values outside the bound are marked."""
    rows = []
    for raw, one, bounds in cells(found, name, stride):
        hits = [one.coverage[band].estimate for band in BANDS]
        marks = [
            "" if abs(hit - int(band) / 100) <= bounds[band] else " ✗" for hit, band in zip(hits, BANDS, strict=True)
        ]
        worse = " ✗" if one.gain.estimate < -0.01 else ""
        rows.append(
            [
                one.group,
                str(one.step),
                f"{one.n:,}",
                " / ".join(f"{raw.coverage[band].estimate:.0%}".rstrip("%") for band in BANDS),
                " / ".join(f"{hit:.1%}".rstrip("%") + mark for hit, mark in zip(hits, marks, strict=True)),
                " / ".join(f"{100 * bounds[band]:.1f}" for band in BANDS),
                f"{raw.crps:.3f}",
                f"{one.crps:.3f}",
                f"{-one.gain.estimate:+.1%}{worse}",
            ]
        )
    header = ["market", "h", "n", "raw 50/80/95 %", "calibrated", "± bound", "CRPS raw", "calibrated", "change"]
    missed = sum("✗" in " ".join(row) for row in rows)
    return markdown(header, rows) + f"\n{len(rows)} cells, {missed} with a mark.\n"


def weights(calibration: Calibration, groups: Sequence[str]) -> str:
    """The model's weight against the baseline."""
    rows = [
        [name, *(f"{calibration.weights(group).get(step, math.nan):.2f}" for step in STEPS)]
        for name, group in (("all together", None), *((group, group) for group in groups))
    ]
    return markdown(["market", *(format_steps(step) for step in STEPS)], rows)


def write(out: Path, tables: Mapping[str, str]) -> None:
    """Write each table to a file and to the terminal."""
    for name, text in tables.items():
        (out / f"{name}.md").write_text(text, encoding="utf-8")
        print(f"\n## {name}\n\n{text}")


def learn(plan: Plan, model: ModelForecaster, out: Path, settings: RollingSettings, workers: int) -> FittedCalibration:
    """Fit on the validation dates, with an ablation of the parts."""
    compare = {name: parts for name, parts in default_ablations().items() if parts and parts != PARTS}
    found = calibrate(plan, model, out / "calibration" / "run", settings, compare=compare, steps=STEPS, workers=workers)
    found.calibration.save(out / "calibration" / "calibration.json")
    unpooled(found).save(out / "calibration" / "not-pooled.json")
    return found


def unpooled(fitted: FittedCalibration) -> Calibration:
    """Fit all parts except pooling."""
    return fit(fitted.calibration_set, [part for part in PARTS if part != "pooling"])


def confirm(
    plan: Plan, model: ModelForecaster, fitted: FittedCalibration, out: Path, settings: RollingSettings, workers: int
) -> tuple[Evaluation, dict[str, str]]:
    """Measure on the test dates."""
    alone = unpooled(fitted)
    name = f"{model.name} calibrated"
    corrections = [
        Correction(name, model.name, fitted.calibration),
        Correction(f"{model.name} {WITHOUT}", model.name, alone),
    ]
    folder = out / "evaluation" / "run"
    evaluation = evaluate(plan, [model], folder, settings, corrections=corrections, steps=STEPS, workers=workers)
    near = baseline_paths(plan, POOL_WITH, folder, settings.seed, workers=workers)
    trials = calibration_set_of(plan, Actuals.of(plan), evaluation.paths[model.name], identity_of(model), near)
    judged = {
        "raw": trials,
        CALIBRATED: fitted.calibration.apply_set(trials),
        WITHOUT: alone.apply_set(trials),
    }
    judged[ADAPTED] = apply_online(judged[CALIBRATED], fitted.calibration.apply_set(fitted.calibration_set))
    narrow, earlier = narrowed(trials), narrowed(fitted.calibration_set)
    repair = fit(earlier)
    narrow_judged = {
        "raw": narrow,
        "repaired": repair.apply_set(narrow),
        "repaired, not pooled": fit(earlier, alone.parts).apply_set(narrow),
    }
    narrow_judged["repaired, adaptive"] = apply_online(narrow_judged["repaired"], repair.apply_set(earlier))
    found = ablate(trials, judged, STEPS, plan.rolling.step)
    repaired = ablate(narrow, narrow_judged, STEPS, plan.rolling.step)
    write_text(out / "evaluation" / "evaluation.json", json.dumps(evaluation.to_dict(), indent=2) + "\n")
    tables = {
        "test": confirmed(evaluation),
        "card": card(evaluation),
        "against": against(evaluation),
        "cells-against": cells_against(evaluation, f"{model.name} {WITHOUT}"),
        "test-ablation": by_setting(found, ALL, "crps"),
        "test-coverage": by_setting(found, ALL, "coverage"),
        "cells": cell_table(found, CALIBRATED, plan.rolling.step),
        "cells-not-pooled": cell_table(found, WITHOUT, plan.rolling.step),
        "cells-adaptive": cell_table(found, ADAPTED, plan.rolling.step),
        "narrowed": f"{by_setting(repaired, ALL, 'crps')}\n{COVERAGE}\n\n{by_setting(repaired, ALL, 'coverage')}",
        "narrowed-cells": cell_table(repaired, "repaired", plan.rolling.step),
        "narrowed-cells-adaptive": cell_table(repaired, "repaired, adaptive", plan.rolling.step),
    }
    return evaluation, tables


def main() -> None:
    """Parse the command line, measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with candles/ and splits.csv")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--model", default="kronos-nano", help="zoo name, hub id or folder")
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--validation-only", action="store_true", help="skip the test dates")
    options = parser.parse_args()
    settings = RollingSettings(options.samples, 1)
    validation, test = plans(options.data)
    name = Path(options.model).name
    model = ModelForecaster(kronos.KronosPredictor.from_pretrained(options.model, device="cpu"), name)
    fitted = learn(validation, model, options.out, settings, options.workers)
    write(
        options.out,
        {
            "ablation": by_setting(fitted.ablation, ALL, "crps"),
            "ablation-coverage": by_setting(fitted.ablation, ALL, "coverage"),
            "weights": weights(fitted.calibration, list(fitted.calibration_set.counts())),
        },
    )
    if options.validation_only:
        return
    _, tables = confirm(test, model, fitted, options.out, settings, options.workers)
    write(options.out, tables)


if __name__ == "__main__":
    main()
