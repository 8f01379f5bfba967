/** Forecasts of candles with a model of Kronos, in browsers, workers and Node. */

export { parseCalibration, type Calibration } from "./calibration";
export { COLUMNS, type Candles, type Column } from "./candles";
export type { ColumnNames } from "./csv/columns";
export type { Finding } from "./csv/findings";
export { readCandles, type ReadOptions } from "./csv/read";
export { readLabels } from "./csv/table";
export { CalendarError, CheckpointError, DataError, KronosError, ParameterError } from "./errors";
export { Forecast, forecast, type ForecastMetadata, type ForecastModel, type ForecastOptions } from "./forecast";
export { formatInterval, parseInterval, type Interval } from "./intervals";
export { parseManifest, type ModelManifest } from "./manifest";
export { loadModel, type LoadedModel, type ReadFile } from "./onnx";
export type { SamplingParams } from "./sampling";
export type { ModelSessions } from "./sessions";
export type { Probability } from "./statistics";
export { formatTime, type Times } from "./times";
