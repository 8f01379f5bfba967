import { describe, expect, it } from "vitest";

import aliases from "../../../tests/golden/browser/aliases.json";
import cases from "../../../tests/golden/browser/csv.json";
import * as copies from "../src/csv/aliases";
import { readCandles, type ReadOptions } from "../src/csv/read";
import { DataError } from "../src/errors";
import { expectClose, flat, messageOf, type Nested } from "./golden";

const NOW = Date.UTC(2026, 5, 1);

interface CsvCase {
  readonly name: string;
  readonly text: string;
  readonly options: ReadOptions;
  readonly error?: string;
  readonly symbol?: string;
  readonly interval?: object;
  readonly wall?: number[];
  readonly offset?: number | null;
  readonly values?: Nested;
  readonly hasVolume?: boolean;
  readonly findings?: object[];
}

const known = cases as unknown as readonly CsvCase[];

function read(text: string, options: ReadOptions = {}): ReturnType<typeof readCandles> {
  return readCandles(text, { name: "sim.csv", now: NOW, ...options });
}

describe("CSV", () => {
  it.each(known.filter(({ error }) => error === undefined))("$name is read as by Python", (one) => {
    const candles = read(one.text, one.options);
    expect(candles.symbol).toBe(one.symbol);
    expect(candles.interval).toEqual(one.interval);
    expect(candles.times.offset).toBe(one.offset);
    expect([...candles.times.wall]).toEqual(one.wall);
    expectClose(candles.values, flat(one.values!));
    expect(candles.hasVolume).toBe(one.hasVolume);
    expect(candles.findings).toEqual(one.findings);
  });

  it.each(known.filter(({ error }) => error !== undefined))("$name is refused in Python's words", (one) => {
    expect(messageOf(() => read(one.text, one.options))).toBe(one.error);
  });

  it.each(Object.entries(aliases))("knows the names of columns of %s", (name, expected) => {
    expect(copies[name as keyof typeof aliases]).toEqual(expected);
  });
});

/** A table of four candles whose times or first price are as given. */
function table(change: { times?: string[]; open?: string; header?: string; sign?: string; end?: string }): string {
  const { sign = ",", header = "Date,Open,High,Low,Close", open = "10.5", end = "" } = change;
  const times = change.times ?? ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"];
  const rows = times.map((time, i) => [time, i ? "10.5" : open, "12.25", "9.75", "11.5"].join(sign));
  return [header.replaceAll(",", sign), ...rows].join("\n") + end;
}

describe("what Python would infer", () => {
  it.each([
    ["no header", table({}).split("\n").slice(1).join("\n"), "sim.csv has no header line"],
    ["a title", `Prices of today\n${table({})}`, "Line 2 of sim.csv ('Date') is no row of candles"],
    ["a footer", table({ end: "\nSource: simulated" }), "Line 6 of sim.csv ('Source: simulated') is no row of candles"],
    ["units below the header", table({}).replace("\n", "\n,USD,USD,USD,USD\n"), "Line 2 of sim.csv ('USD')"],
    [
      "decimal commas",
      table({ sign: ";" }).replaceAll(".", ","),
      "Line 2 of sim.csv: open '10,5' is not in plain notation",
    ],
    ["a thousands comma", table({ sign: ";", open: "1,010.5" }), "open '1,010.5' is not in plain notation"],
    ["a currency", table({ open: "$10.5" }), "open '$10.5' is not in plain notation"],
    [
      "days first",
      table({ times: ["28/01/2024", "29/01/2024", "30/01/2024", "31/01/2024"] }),
      "The dates of sim.csv are day-first ('28/1/2024'), which are not read here: write them as YYYY-MM-DD.",
    ],
    ["names of months", table({ times: ["Jan 1, 2024", "Jan 2, 2024"] }).replaceAll(", 2", " 2"), "('Jan 1 2024')"],
    ["days as numbers", table({ times: ["20240101", "20240102"] }), "numbers such as 20240101"],
    ["microseconds", table({ times: ["1706652000000000", "1706655600000000"] }), "numbers such as 1706652000000000"],
    [
      "a column for each part of the date",
      "Year,Month,Day,Open,High,Low,Close\n2024,1,1,2,3,1,2\n",
      "has its dates in columns for year, month and day",
    ],
    ["a line break in quotes", table({ open: '"10\n.5"' }), "Line 2 of sim.csv has a quote that does not end on it"],
    [
      "names of instruments beside repeated times",
      `${table({ header: "Date,Open,High,Low,Close,Name" }).replaceAll(".5\n", ".5,A\n")},A\n2024-01-01,1,2,1,2,B`,
      "sim.csv seems to have several instruments, named by column 'Name'",
    ],
  ])("is refused: %s", (_, text, message) => {
    expect(() => read(text)).toThrow(DataError);
    expect(() => read(text)).toThrow(message);
  });

  it("is refused: times of day in another notation", () => {
    const text = "Date,Time,Open,High,Low,Close\n2024-01-01,930,2,3,1,2\n2024-01-01,1030,2,3,1,2\n";
    expect(() => read(text)).toThrow("The times of day of sim.csv ('930') are not read here");
  });
});
