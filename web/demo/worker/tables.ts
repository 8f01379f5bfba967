/** Forecasts as CSV, with the columns of Python's `Forecast.to_frame`. */

import { type Column, COLUMNS, type Forecast } from "@kronos-forecast/browser";

const LEVELS = [0.025, 0.05, 0.1, 0.25, 0.75, 0.9, 0.95, 0.975];

/** One row per step: mean, median and quantiles of each column. */
export function quantileTable(forecast: Forecast): string {
  const columns = COLUMNS.flatMap((column) => {
    const quantiles = forecast.quantiles(LEVELS, column);
    return [
      [`${column}_mean`, means(forecast, column)] as const,
      [`${column}_median`, forecast.quantiles([0.5], column)[0]!] as const,
      ...LEVELS.map((level, i) => [`${column}_q${levelDigits(level)}`, quantiles[i]!] as const),
    ];
  });
  return csv(
    ["timestamps", ...columns.map(([name]) => name)],
    forecast.timestamps.map((time, step) => [time, ...columns.map(([, values]) => values[step]!)]),
  );
}

/** Mean over the paths at each step. */
function means(forecast: Forecast, column: Column): number[] {
  const { samples, horizon } = forecast;
  const values = forecast.channel(column);
  return Array.from({ length: horizon }, (_, step) => {
    let sum = 0;
    for (let path = 0; path < samples; path++) sum += values[path * horizon + step]!;
    return sum / samples;
  });
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
