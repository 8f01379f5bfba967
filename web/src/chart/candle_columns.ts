/** Candles as the chart takes them; nothing of a document or a library, so that workers can make them. */

/** Candles in columns, oldest first. `time` is the open of each candle in UTC epoch seconds, strictly increasing. */
export interface CandleColumns {
  time: number[];
  open: number[];
  high: number[];
  low: number[];
  close: number[];
  /** Null if the data have no volume. */
  volume: number[] | null;
}
