import { describe, expect, it, vi } from "vitest";

// The state modules ask the browser for its preferences when they are loaded.
vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener: () => {} }));
vi.stubGlobal("sessionStorage", { getItem: () => null });
vi.stubGlobal("document", { baseURI: "http://localhost/", visibilityState: "visible" });

const { judgeAge } = await import("../../src/state/staleness");
const { position, slice } = await import("../../src/state/data");

describe("age of candles", () => {
  const hour = 3600;
  const nextClose = 10 * hour;

  it("is counted in intervals since the newest close", () => {
    expect(judgeAge(9.5 * hour, nextClose, hour)).toEqual({ level: "fresh", overdue: -0.5 * hour });
    expect(judgeAge(10.5 * hour, nextClose, hour).level).toBe("fresh");
    expect(judgeAge(10.6 * hour, nextClose, hour).level).toBe("late");
    expect(judgeAge(12 * hour, nextClose, hour).level).toBe("late");
    expect(judgeAge(12.1 * hour, nextClose, hour).level).toBe("stale");
  });

  it("does not count a night before the next session", () => {
    const nextSession = 26 * hour; // the next candle closes sixteen hours later than usual
    expect(judgeAge(20 * hour, nextSession, hour).level).toBe("fresh");
  });
});

describe("candles", () => {
  it("are found by time and cut by position", () => {
    const candles = {
      time: [10, 20, 30],
      open: [1, 2, 3],
      high: [1, 2, 3],
      low: [1, 2, 3],
      close: [1, 2, 3],
      volume: null,
    };
    expect([5, 10, 25, 99].map((time) => position(candles.time, time))).toEqual([-1, 0, 1, 2]);
    expect(slice(candles, 1, 3)).toMatchObject({ time: [20, 30], close: [2, 3], volume: null });
  });
});
