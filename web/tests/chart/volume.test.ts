/** The volumes of a forecast's central path: where their bars are, and what the pane's scale has to hold. */

import type { Coordinate, IChartApiBase, Time } from "lightweight-charts";
import { describe, expect, it } from "vitest";
import type { CandleColumns, ForecastOverlay } from "../../src/chart/types";
import { centralVolumes, VolumeSeries } from "../../src/chart/volume_series";

const PALETTE = { ground: "#ffffff", grid: "", text: "", muted: "", up: "#00ff00", down: "#ff0000", hollowUp: false };
const SPACING = 10;

function columns(time: number[], volume: number[] | null): CandleColumns {
  const flat = time.map(() => 1);
  return { time, open: flat, high: flat, low: flat, close: flat, volume };
}

function overlay(central: CandleColumns | null): ForecastOverlay {
  return {
    id: "nano",
    label: "kronos-nano",
    colour: "#5746d8",
    dash: [],
    origin: { time: 20, close: 1 },
    time: [30, 40],
    bands: [],
    median: [1, 1],
    central,
    paths: [],
  };
}

/** A series on an axis of which the bars from `from` to `to` are in sight; bar n lies at 10 n. */
function series(from: number, to: number): VolumeSeries {
  const timeScale = (): unknown => ({
    logicalToCoordinate: (bar: number) => SPACING * bar,
    getVisibleLogicalRange: () => ({ from, to }),
  });
  const view = new VolumeSeries({ timeScale } as unknown as IChartApiBase<Time>);
  view.update({ barSpacing: SPACING } as Parameters<VolumeSeries["update"]>[0]);
  view.setColumns(columns([10, 20], [4, 2]), PALETTE);
  return view;
}

/** The rectangles that are painted, with their colours, where a volume of v is v pixels high. */
function painted(view: VolumeSeries): { kind: string; colour: string; box: number[] }[] {
  const boxes: { kind: string; colour: string; box: number[] }[] = [];
  let path: number[][] = [];
  const context = {
    fillStyle: "",
    strokeStyle: "",
    lineWidth: 0,
    beginPath: () => void (path = []),
    rect: (...box: number[]) => void path.push(box),
    fill: () => path.forEach((box) => boxes.push({ kind: "fill", colour: context.fillStyle, box })),
    fillRect: (...box: number[]) => void boxes.push({ kind: "fill", colour: context.fillStyle, box }),
    strokeRect: (...box: number[]) => void boxes.push({ kind: "outline", colour: context.strokeStyle, box }),
  };
  const scope = { context, horizontalPixelRatio: 1, verticalPixelRatio: 1 } as unknown as Parameters<
    VolumeSeries["paint"]
  >[0];
  view.paint(scope, (volume) => (100 - volume) as Coordinate);
  return boxes;
}

describe("volumes of the central path", () => {
  it("lie where the axis has their times", () => {
    const shown = centralVolumes([overlay(columns([30, 40], [3, 9]))], [10, 20, 25, 30, 40]);
    expect(shown).toEqual([{ bars: [3, 4], volume: [3, 9], colour: "#5746d8" }]);
  });

  it("are none without a central path, or without volume", () => {
    expect(centralVolumes([overlay(null), overlay(columns([30, 40], null))], [10, 20, 30, 40])).toEqual([]);
  });

  it("are outlines in the forecast's colour, after the bars of the candles", () => {
    const view = series(0, 3);
    view.central = centralVolumes([overlay(columns([30, 40], [3, 9]))], [10, 20, 30, 40]);
    const boxes = painted(view);
    expect(boxes.map(({ kind }) => kind)).toEqual(["fill", "fill", "fill", "outline", "fill", "outline"]);
    expect(boxes.slice(2, 4)).toEqual([
      { kind: "fill", colour: expect.not.stringMatching(/^#5746d8$/), box: [15, 97, 9, 3] },
      { kind: "outline", colour: "#5746d8", box: [15.5, 97.5, 8, 3] },
    ]);
  });

  it("count for the scale while they are in sight", () => {
    const view = series(0, 3);
    view.central = centralVolumes([overlay(columns([30, 40], [3, 9]))], [10, 20, 30, 40]);
    expect(view.range()).toEqual({ priceRange: { minValue: 0, maxValue: 9 } });
    const history = series(0, 1);
    history.central = view.central;
    expect(history.range()).toEqual({ priceRange: { minValue: 0, maxValue: 4 } });
  });

  it("leave an empty view without a scale", () => {
    expect(series(5, 6).range()).toBeNull();
  });
});
