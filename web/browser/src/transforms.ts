/**
 * The transformations that a calibration consists of, on the values of all paths at one step, in increasing order.
 *
 * As Python's `kronos.calibration.transforms`: each is a non-decreasing map, so that paths keep their ranks.
 */

import { bandLevels, clamp, sortedMedian, sortedQuantile } from "./statistics";

const BANDS = [0.5, 0.8, 0.95] as const;
/** Names of the shifts of the lower and upper band ends, inner first, and of the median. */
export const LOWER = ["conformal q0.25", "conformal q0.1", "conformal q0.025"] as const;
export const UPPER = ["conformal q0.75", "conformal q0.9", "conformal q0.975"] as const;
export const CENTRE = "conformal q0.5";
const MIN_SLOPE = 0.05; // of the conformal map between two band ends, which keeps it increasing

/** Keep a share of the median drift. */
export function shrinkDrift(values: Float64Array, factor: number): Float64Array {
  const shift = (1 - factor) * sortedMedian(values);
  return values.map((value) => value - shift);
}

/** Scale the deviations from the median. */
export function rescale(values: Float64Array, factor: number): Float64Array {
  const middle = sortedMedian(values);
  return values.map((value) => middle + factor * (value - middle));
}

/**
 * Shift the ends of the bands, and all values between and beyond them in proportion.
 *
 * @param shifts Outward shifts of the lower, then of the upper ends, inner first, in units of half the 80 % band.
 * @param centre Shift of the median in the same unit.
 */
export function shiftBands(values: Float64Array, shifts: readonly number[], centre: number): Float64Array {
  const middle = sortedMedian(values);
  const [low, high] = bandLevels(0.8);
  const unit = 0.5 * (sortedQuantile(values, high) - sortedQuantile(values, low));
  const newMiddle = middle + centre * unit;
  const result = values.map(() => newMiddle);
  for (const sign of [-1, 1]) {
    const ends = sign < 0 ? shifts.slice(0, BANDS.length) : shifts.slice(BANDS.length);
    // Shifts are relative to the old ends, the map to the new median.
    const offset = sign * (newMiddle - middle);
    const knots = BANDS.map((band) => {
      const end = sortedQuantile(values, bandLevels(band)[sign > 0 ? 1 : 0]);
      return Math.max(sign * (end - middle), 0);
    });
    const map = sideMap(
      knots,
      ends.map((shift) => shift * unit - offset),
    );
    values.forEach((value, s) => (result[s]! += sign * map(Math.max(sign * (value - middle), 0))));
  }
  return result;
}

interface Segment {
  readonly start: number;
  readonly length: number;
  readonly slope: number;
}

/** The map of distances from the median on one side, linear between knots. */
function sideMap(knots: readonly number[], shifts: readonly number[]): (distance: number) => number {
  const segments: Segment[] = [];
  let start = 0;
  let mapped = 0;
  knots.forEach((knot, i) => {
    const length = knot - start;
    const newLength = Math.max(knot + shifts[i]! - mapped, MIN_SLOPE * length);
    segments.push({ start, length, slope: length > 0 ? newLength / length : 1 });
    start = knot;
    if (length > 0) mapped += newLength;
  });
  const tail = start > 0 ? mapped / start : 1;
  return (distance) => {
    let result = 0;
    for (const segment of segments) result += segment.slope * clamp(distance - segment.start, 0, segment.length);
    return result + tail * Math.max(distance - start, 0);
  };
}
