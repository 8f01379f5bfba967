/** Cases that Python's `golden.browser_cases` computed, and how closely numbers have to agree. */

import { expect } from "vitest";

const RELATIVE = 1e-12;

export type Nested = number | string | readonly Nested[];

/** Numbers of nested arrays in order; text stands for those that JSON lacks. */
export function flat(nested: Nested): Float64Array {
  const numbers: number[] = [];
  const visit = (value: Nested): void => {
    if (typeof value === "object") value.forEach(visit);
    else numbers.push(typeof value === "number" ? value : ({ inf: Infinity, "-inf": -Infinity }[value] ?? NaN));
  };
  visit(nested);
  return Float64Array.from(numbers);
}

/** Expect numbers that differ by rounding at most, relative to themselves or to the size of what they are sums of. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { relative = RELATIVE, size = 1e-3 } = {},
): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const tolerance = relative * Math.max(Math.abs(expected[i]!), size);
    if (!(Math.abs(actual[i]! - expected[i]!) <= tolerance)) {
      expect.fail(`number ${i} is ${actual[i]}, not ${expected[i]}`);
    }
  }
}

/** The message of the error that a function throws. */
export function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return "";
}
