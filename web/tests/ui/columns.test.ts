import { describe, expect, it } from "vitest";

import type { TablePreview } from "../../src/api/types";
import { assign, detectedRoles } from "../../src/components/column_roles";
import { downloadStem, sentName } from "../../src/downloads";
import { ignoredParts } from "../../src/state/url";

const PREVIEW: TablePreview = {
  labels: ["Datum", "Letzter", "Schlusskurs"],
  references: ["Datum", "Letzter", "Schlusskurs"],
  roles: ["timestamps", "close", ""],
  rows: [],
  first: 2,
  columns: 3,
};

describe("mapping of columns", () => {
  it("gives a column one role, and a role one column", () => {
    expect(assign({ close: "A" }, "B", "close")).toEqual({ close: "B" });
    expect(assign({ close: "A", open: "B" }, "A", "high")).toEqual({ open: "B", high: "A" });
    expect(assign({ close: "A", open: "B" }, "A", "")).toEqual({ open: "B" });
  });

  it("no longer detects a role that another column was chosen for", () => {
    expect(detectedRoles(PREVIEW, {})).toEqual(["timestamps", "close", ""]);
    expect(detectedRoles(PREVIEW, { close: "Schlusskurs" })).toEqual(["timestamps", "", ""]);
    expect(detectedRoles(PREVIEW, { close: "Letzter" })).toEqual(["timestamps", "close", ""]);
  });
});

describe("names of downloads", () => {
  it("are those that the server gives its files", () => {
    const name = (series: string, asOf: string): string => downloadStem(series, "1h", asOf);
    expect(name("BTC/USDT", "2025-03-10T23:00:00+00:00")).toBe("BTC-USDT_1h_2025-03-10_2300");
    expect(name("贵州茅台 600519", "2025-03-10T00:00:00+08:00")).toBe("贵州茅台-600519_1h_2025-03-10");
    expect(name('../../etc/"x"\r\n', "2025-03-10")).toBe("etc-x_1h_2025-03-10");
    expect(name("btc_1h", "2025-03-10")).toBe("btc_1h_2025-03-10");
    expect(name("", "2025-03-10")).toBe("series_1h_2025-03-10");
    expect(name("x".repeat(200), "2025-03-10")).toBe(`${"x".repeat(60)}_1h_2025-03-10`);
  });

  it("are read from the answer", () => {
    const header = "attachment; filename=\"1h.csv\"; filename*=UTF-8''%E8%8C%85_1h.csv";
    expect(sentName(header)).toBe("茅_1h.csv");
    expect(sentName('attachment; filename="a.csv"')).toBe("a.csv");
    expect(sentName(null)).toBeNull();
  });
});

describe("parts of the address that are ignored", () => {
  it("are named as written", () => {
    expect(ignoredParts("?result=../x,ok_1&mode=guess&horizon=0&end=now&column==x&file=a.csv&header=-1")).toEqual([
      "result=../x",
      "header=-1",
      "column==x",
      "mode=guess",
      "end=now",
      "horizon=0",
    ]);
    expect(ignoredParts(`?file=${"x".repeat(501)}`)).toEqual([`file=${"x".repeat(40)}…`]);
    expect(ignoredParts("?file=a%0ab.csv")).toEqual(["file=a\nb.csv"]);
    expect(ignoredParts("?result=1,2,3,4,5,6,7")).toEqual(["result=7"]);
  });

  it("are none in the addresses of the page, and empty ones are no fault", () => {
    expect(ignoredParts("?file=folder/größe.csv&mode=replay&lookback=200&end=2025-01-30T00:00:00&raw=1")).toEqual([]);
    expect(ignoredParts("?result=&file=")).toEqual([]);
  });
});
