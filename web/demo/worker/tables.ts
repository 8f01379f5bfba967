/** Forecasts as CSV, with the columns of Python's `Forecast.to_frame`. */

import { COLUMNS, type Forecast } from "@kronos-forecast/browser";

const LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975];

/** One row per step: quantiles of each column. */
export function quantileTable(forecast: Forecast): string {
  const names = COLUMNS.flatMap((column) => LEVELS.map((level) => `${column}_q${levelDigits(level)}`));
  const columns = COLUMNS.flatMap((column) => forecast.quantiles(LEVELS, column));
  return csv(
    ["timestamps", ...names],
    forecast.timestamps.map((time, step) => [time, ...columns.map((values) => values[step]!)]),
  );
}

/** One row per step of each path. */
export function pathTable({ paths, horizon, timestamps }: Forecast): string {
  const size = COLUMNS.length;
  const rows = Array.from({ length: paths.length / size }, (_, row) => [
    Math.floor(row / horizon),
    timestamps[row % horizon]!,
    ...paths.subarray(row * size, (row + 1) * size),
  ]);
  return csv(["sample_id", "timestamps", ...COLUMNS], rows);
}

/** The digits of a level after the point, at least two: 025 for 0.025, 50 for 0.5. */
function levelDigits(level: number): string {
  return String(level).split(".")[1]!.padEnd(2, "0");
}

function csv(names: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  return [names, ...rows].map((cells) => `${cells.join(",")}\n`).join("");
}
