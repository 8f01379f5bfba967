/** Candles: their data in the library's form, and the look of the chart. */

import {
  PriceScaleMode,
  type CandlestickData,
  type CandlestickSeriesPartialOptions,
  type ChartOptions as LibraryOptions,
  type DeepPartial,
  type Time,
  type WhitespaceData,
} from "lightweight-charts";
import { isDark, mix, withAlpha } from "./colours";
import type { CandleColumns, ChartPalette, PriceScale } from "./types";

export const PRICE_MODES: Record<PriceScale, PriceScaleMode> = {
  linear: PriceScaleMode.Normal,
  log: PriceScaleMode.Logarithmic,
  percent: PriceScaleMode.Percentage,
};

/** How the chart behaves, whatever its colours. */
export function chartOptions(fontFamily: string, still: boolean): DeepPartial<LibraryOptions> {
  return {
    autoSize: true,
    hoveredSeriesOnTop: false,
    layout: { attributionLogo: false, fontFamily, fontSize: 11 },
    crosshair: { mode: 0 },
    rightPriceScale: { scaleMargins: { top: 0.12, bottom: 0.1 }, minimumWidth: 64 },
    timeScale: { timeVisible: true, enableConflation: true, minBarSpacing: 0.005, rightOffset: 0 },
    handleScroll: { vertTouchDrag: false },
    handleScale: { axisDoubleClickReset: { time: false, price: true } },
    kineticScroll: { touch: !still, mouse: false },
  };
}

/** Candles for the library. A price that is not finite makes a hole: an empty place on the axis. */
export function candleItems(candles: CandleColumns): (CandlestickData<Time> | WhitespaceData<Time>)[] {
  const { time, open, high, low, close } = candles;
  return time.map((at, index) => {
    if (!Number.isFinite(close[index]!)) return { time: at as Time };
    return { time: at as Time, open: open[index]!, high: high[index]!, low: low[index]!, close: close[index]! };
  });
}

export function candleStyle(palette: ChartPalette, candles: CandleColumns): CandlestickSeriesPartialOptions {
  const last = candles.time.length - 1;
  const direction = last >= 0 && candles.close[last]! < candles.open[last]! ? palette.down : palette.up;
  return {
    // By itself the price line takes the colour of the last body, which is transparent if that is hollow.
    priceLineColor: palette.hollowUp ? direction : "",
    upColor: palette.hollowUp ? withAlpha(palette.ground, 0) : palette.up,
    downColor: palette.down,
    borderVisible: true,
    borderUpColor: palette.up,
    borderDownColor: palette.down,
    wickUpColor: palette.up,
    wickDownColor: palette.down,
  };
}

/** Colours of grid, axes and crosshair. */
export function chartStyle(palette: ChartPalette): DeepPartial<LibraryOptions> {
  const label = mix(palette.ground, palette.text, isDark(palette.ground) ? 0.22 : 0.88);
  const line = { color: palette.muted, labelBackgroundColor: label };
  return {
    layout: {
      background: { color: palette.ground },
      textColor: palette.muted,
      panes: { separatorColor: palette.grid, separatorHoverColor: withAlpha(palette.muted, 0.25) },
    },
    grid: { vertLines: { color: palette.grid }, horzLines: { color: palette.grid } },
    crosshair: { vertLine: line, horzLine: line },
    rightPriceScale: { borderColor: palette.grid },
    timeScale: { borderColor: palette.grid },
  };
}
