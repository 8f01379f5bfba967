/** The workbench's chart: candles, volume and forecasts. */

export { createCandleChart } from "./candle_chart";
export type * from "./types";
