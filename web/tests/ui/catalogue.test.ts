import { describe, expect, it } from "vitest";

import english from "../../../src/kronos/reports/shared/workbench.en.json";
import chinese from "../../../src/kronos/reports/shared/workbench.zh.json";
import { fill } from "../../src/i18n/catalogues";
import { flatten, placeholders } from "./catalogues";

const SOURCES = import.meta.glob<string>("../../src/**/*.{ts,tsx}", { query: "?raw", import: "default", eager: true });

describe("catalogues", () => {
  const texts = new Map(flatten(english));
  const translations = new Map(flatten(chinese));

  it("have the same keys", () => {
    expect([...translations.keys()].sort()).toEqual([...texts.keys()].sort());
  });

  it("fill in the same values", () => {
    for (const [key, text] of texts) {
      const form = key.replace(/\.one$/, ".other"); // "1 row" need not repeat the number
      expect(texts.get(form) === undefined ? [] : placeholders(translations.get(key)!), key).toEqual(
        expect.arrayContaining(placeholders(text).filter((name) => name !== "count")),
      );
    }
  });

  it("have no text that nothing shows", () => {
    const code = Object.values(SOURCES).join("\n");
    // Groups whose keys are put together from values: the group has to be named somewhere.
    const unused = [...texts.keys()].filter((key) => {
      const parts = key.replace(/\.(one|other)$/, "").split(".");
      const whole = parts.join(".");
      const parent = parts.slice(0, -1).join(".");
      return (
        !code.includes(`"${whole}"`) &&
        !code.includes(`${parent}.\${`) &&
        !code.includes(`term("${parts[0]}"`) &&
        !code.includes(`${parts[0]}.\${`)
      );
    });
    expect(unused).toEqual([]);
  });

  it("say what ECOSYSTEM and the notice of the chart library ask for", () => {
    expect(english.page.advice).toBe("A forecast is not investment advice.");
    expect(english.page.notice).toContain("TradingView Lightweight Charts™");
    expect(chinese.page.notice).toBe(english.page.notice);
    expect(chinese.table.quantile).not.toContain("置信");
    expect(JSON.stringify(chinese)).not.toMatch(/蜡烛|置信区间/);
  });
});

describe("fill", () => {
  it("replaces what it has, and leaves the rest visible", () => {
    expect(fill("{a} of {b}", { a: 1 })).toBe("1 of {b}");
  });
});
