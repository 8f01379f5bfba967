import { forecast, readCandles } from "@kronos-forecast/browser";
import { describe, expect, it } from "vitest";

import { StubSessions } from "../../browser/tests/stub";
import { type Field, missingOption, namedFields } from "../src/advice";

const HEAD = "timestamps,open,high,low,close\n";

/** Hourly candles of a few office hours, which no calendar of the package explains. */
function officeHours(): string {
  const rows = Array.from({ length: 60 }, (_, i) => {
    const day = new Date(Date.UTC(2024, 0, 1 + Math.floor(i / 6) + 2 * Math.floor(i / 30))).toISOString().slice(0, 10);
    return `${day} ${String(10 + (i % 6)).padStart(2, "0")}:00,1.1,1.2,1.05,1.15`;
  });
  return HEAD + rows.join("\n");
}

describe("fields that a message names", () => {
  it.each<[Field, string, object]>([
    ["columns", "timestamps,open,high,low,Kurs abends\n2024-01-01,1,2,1,2\n2024-01-02,1,2,1,2", {}],
    ["interval", `${HEAD}2024-01-01 00:00,1.1,2.1,1.1,2.1\n2024-01-01 01:00,1.1,2.1,1.1,2.1`, { interval: "2x" }],
    ["interval", `${HEAD}2024-01-01 00:00,1.1,2.1,1.1,2.1\n2024-01-01 01:00,1.1,2.1,1.1,2.1`, { interval: "1d" }],
    ["decimal", "date;open;high;low;close\n2024-01-01;5.916;5.931;5.902;5.925\n2024-01-02;5.925;5.944;5.911;5.937", {}],
  ])("%s, of the reader", (field, text, options) => {
    expect.assertions(1);
    try {
      readCandles(text, options);
    } catch (error) {
      expect(namedFields((error as Error).message)).toContain(field);
    }
  });

  it.each<[Field, object]>([
    ["calendar", {}],
    ["horizon", { horizon: 0 }],
    ["seed", { seed: 0.5 }],
    ["temperature", { sampling: { temperature: 0 } }],
    ["topP", { sampling: { topP: 2 } }],
  ])("%s, of the forecast", async (field, options) => {
    const sessions = new StubSessions({ normalisation: "changes", clip: 5, vocabulary: 64 });
    const error = await forecast({ sessions, calibration: null }, readCandles(officeHours()), options).catch(
      (thrown: Error) => thrown,
    );
    expect(namedFields((error as Error).message)).toEqual([field]);
  });

  it.each([
    ["thousands=", "The prices of a.csv such as 1,234 may be …: give thousands=',' or decimal=','."],
    ["header=", "name each column in the header, or give its line as header=."],
    ["timezone=", "pass timezone='America/New_York' (its offsets agree) for a wall clock."],
    ["read_many", "a.csv has 2 instruments (A, B …); read it with read_many or split_long."],
    [null, "Say the interval, such as interval='1h'."],
  ])("do not include %s", (option, message) => {
    expect(missingOption(message)).toBe(option);
  });

  it("are none where the file has to be changed", () => {
    expect(namedFields("btc.csv is empty; it needs a header and rows of candles.")).toEqual([]);
  });
});
