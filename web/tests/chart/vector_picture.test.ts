import { describe, expect, it } from "vitest";

import { ZoneClock } from "../../src/chart/time_zone";
import type { ChartScene } from "../../src/chart/types";
import { niceValues, paintChart, SvgContext } from "../../src/chart/vector_picture";

const measure = { font: "", measureText: (text: string) => ({ width: 6 * text.length }) as TextMetrics };

function written(draw: (context: SvgContext) => void): string {
  const context = new SvgContext(measure);
  draw(context);
  return context.document(100, 50, "A & B");
}

describe("the SVG context", () => {
  it("writes shapes with their colour and opacity apart", () => {
    const text = written((context) => {
      context.globalAlpha = 0.5;
      context.fillStyle = "rgba(1, 2, 3, 0.5)";
      context.fillRect(10, 20, -4, 5);
    });
    expect(text).toContain('<rect x="6" y="20" width="4" height="5" fill="rgb(1, 2, 3)" fill-opacity="0.25"/>');
    expect(text).toContain("<title>A &amp; B</title>");
  });

  it("writes dashes, and gives back a state", () => {
    const text = written((context) => {
      context.save();
      context.setLineDash([5, 4]);
      context.strokeStyle = "#123456";
      context.restore();
      context.beginPath();
      context.moveTo(0, 0.126);
      context.lineTo(9, 9);
      context.stroke();
    });
    expect(text).toContain('<path d="M0 0.13L9 9" fill="none" stroke="#000" stroke-width="1"/>');
  });

  it("centres texts, and escapes them", () => {
    const text = written((context) => {
      context.font = "bold 10px Arial, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText("<5%>", 50, 20);
    });
    expect(text).toContain('x="50" y="23.5" text-anchor="middle" font-family="Arial, sans-serif" font-size="10"');
    expect(text).toContain('font-weight="bold" fill="#000">&lt;5%&gt;</text>');
  });
});

describe("round values", () => {
  it("cover the range in steps of 1, 2, 2.5 or 5", () => {
    expect(niceValues(0.9, 5.2, 5)).toEqual([1, 2, 3, 4, 5]);
    expect(niceValues(-130, 260, 4)).toEqual([-100, 0, 100, 200]);
    expect(niceValues(3, 3, 4)).toEqual([]);
  });
});

describe("the chart as a picture", () => {
  const time = Array.from({ length: 48 }, (_, hour) => Date.UTC(2026, 0, 5) / 1000 + 3600 * hour);
  const rising = time.map((_, index) => index % 3 > 0);
  const scene: ChartScene = {
    width: 600,
    height: 300,
    plotWidth: 530,
    paneHeights: [200, 70],
    times: time,
    first: 0,
    end: 48,
    candles: {
      time,
      open: time.map(() => 100),
      high: time.map(() => 104),
      low: time.map(() => 96),
      close: rising.map((up) => (up ? 102 : 98)),
      volume: null,
    },
    barOf: (candle) => candle,
    x: (bar) => 5 + 10 * bar,
    priceY: (price) => 200 - 10 * (price - 90),
    priceAt: (y) => 90 + (200 - y) / 10,
    volumeY: () => null,
    volumeAt: () => null,
    priceText: (price) => price.toFixed(1),
    percentBase: null,
    volumeText: String,
    palette: { ground: "#fff", grid: "#eee", text: "#111", muted: "#666", up: "#0a0", down: "#a00", hollowUp: false },
    font: "sans-serif",
    locale: "en-GB",
    clock: new ZoneClock("UTC"),
    zone: "UTC",
    paintShades: () => {},
    paintForecasts: () => {},
    paintVolume: () => {},
    paintLabels: () => {},
  };
  const draw = (changes: Partial<ChartScene> = {}): string =>
    written((context) => paintChart(context, { ...scene, ...changes }));

  it("has candles by direction, axes and the last price, without a bitmap", () => {
    const text = draw();
    const paths = [...text.matchAll(/<path d="([^"]+)" fill="#(?:0a0|a00)"/g)];
    expect(paths.map(([, path]) => path!.match(/M/g)!.length)).toEqual([64, 32, 32, 16]);
    for (const label of ["95.0", "100.0", "12:00", "UTC", "102.0"]) expect(text).toContain(`>${label}</text>`);
    expect(text).toMatch(/font-weight="bold"[^>]*>6<\/text>/);
    expect(text).not.toContain("<image");
  });

  it("draws hollow candles as outlines", () => {
    const text = draw({ palette: { ...scene.palette, hollowUp: true } });
    expect(text).toMatch(/d="[^"]+" fill="none" stroke="#0a0"/);
  });

  it("counts percentages from their base", () => {
    const text = draw({ percentBase: 100, priceText: (price) => `${(price - 100).toFixed(2)}%` });
    expect(text).toContain(">-5.00%</text>");
  });
});
