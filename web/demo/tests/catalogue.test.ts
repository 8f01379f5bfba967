import { describe, expect, it } from "vitest";

import { flatten, placeholders } from "../../tests/ui/catalogues";
import english from "../src/texts/en.json";
import chinese from "../src/texts/zh.json";

const SOURCES = import.meta.glob<string>("../src/**/*.{ts,tsx}", { query: "?raw", import: "default", eager: true });

describe("catalogues of the demo page", () => {
  const texts = new Map(flatten(english));
  const translations = new Map(flatten(chinese));

  it("have the same keys and fill in the same values", () => {
    expect([...translations.keys()].sort()).toEqual([...texts.keys()].sort());
    for (const [key, text] of texts) expect(placeholders(translations.get(key)!), key).toEqual(placeholders(text));
  });

  it("have no text that nothing shows", () => {
    const code = Object.values(SOURCES).join("\n");
    const unused = [...texts.keys()].filter((key) => {
      const parent = key.split(".").slice(0, -1).join(".");
      return !code.includes(`"${key}"`) && !code.includes(`\`${parent}.\${`);
    });
    expect(unused).toEqual([]);
  });

  it("say that a forecast is no advice, and call simulated candles so", () => {
    expect(english.limits.advice).toBe("A forecast is not investment advice.");
    expect(english.summary.simulated).toContain("SIMULATED");
    expect(chinese.summary.simulated).toContain("SIMULATED");
    expect(JSON.stringify(chinese)).not.toMatch(/蜡烛|置信区间/);
  });
});
