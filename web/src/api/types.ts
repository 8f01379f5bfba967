/** Documents of the server's workbench API, as docs/serving.md and /openapi.json describe them. */

export interface ApiErrorDocument {
  error: string;
  message: string;
  /** Reading options that the message names, such as ["decimal"]; empty for other errors. */
  options?: string[];
  /** Short name of the message and what it quotes, to say it in another language. */
  kind?: string;
  values?: Record<string, string | number>;
  /** First rows of the file that the message is about. */
  preview?: TablePreview;
}

/** POST /api/preview, a FileRequest: the first rows as they are written. Arrays over columns have the same length. */
export interface TablePreview {
  /** Names of the columns in the file; empty where they have none. */
  labels: string[];
  /** What names each column in the option `columns`: its label, or its position from 1. */
  references: string[];
  /** What each column was read as; empty if it was not used. */
  roles: string[];
  rows: string[][];
  /** Number of the first row, as messages count them. */
  first: number;
  /** Columns of the file; the preview has at most forty of them. */
  columns: number;
}

export interface Finding {
  severity: string;
  code: string;
  count: number;
  rows: number[];
  message: string;
  /** As of an error; absent from older servers. */
  kind?: string;
  values?: Record<string, string | number>;
}

export interface DataInfo {
  rows: number;
  columns: string[];
  start_date: string;
  end_date: string;
  price_range: { min: number; max: number };
  prediction_columns: string[];
  timeframe: string;
  timezone: string | null;
  /** Trading calendar that future times come from, such as "24/7" or "XNYS". */
  calendar: string;
  /** The calendar was detected from the times, not given by an option; absent from older servers. */
  calendar_inferred?: boolean;
  symbol: string | null;
  simulated: boolean;
  findings: Finding[];
}

/** Options that override what the reader infers; absent ones are inferred. */
export interface ReadOptions {
  symbol?: string;
  interval?: string;
  timezone?: string;
  calendar?: string;
  columns?: Record<string, string>;
  decimal?: string;
  thousands?: string;
  date_format?: string;
  header?: number;
}

/** `file_path`: a path of /api/data-files, "upload:ID", "sample:NAME", or "asset:SYMBOL" of /api/assets. */
export interface FileRequest extends ReadOptions {
  file_path: string;
}

/**
 * POST /api/candles: FileRequest + {limit (default 2000, at most 100000), before, ahead}. The newest candles that open
 * before `before` (UTC epoch seconds), and the opens of the `ahead` candles to come (default 0).
 */
export interface CandlesResponse {
  data_info: DataInfo;
  /** Rows of the file before the first candle of this part: 0 when it reaches the start. */
  offset: number;
  /** Digits after the decimal point that the prices need. */
  digits: number;
  candles: { time: number[]; open: number[]; high: number[]; low: number[]; close: number[]; volume: number[] | null };
  /** Opens of the `ahead` candles after the last one of the file, by the calendar (UTC epoch seconds). */
  next: number[];
  /** When the next candle closes (UTC epoch seconds); null for times without a zone. */
  next_close: number | null;
}

/** One entry of GET /api/available-models: {models: {KEY: ModelInfo}, model_available}. */
export interface ModelInfo {
  /** Name to show, such as "Kronos-small". */
  name: string;
  description: string;
  /** Weights are on this machine; others are downloaded on first use. */
  available: boolean;
  context_length?: number;
  /** Such as "24.7M". */
  params?: string;
  parameters?: number;
  licence?: string;
  /** A calibration ships with the model. */
  calibrated?: boolean;
}

export interface CurrentModel {
  name: string;
  key: string;
  device: string;
  context_length: number;
  least_history: number;
  precision: string;
}

export interface ModelStatus {
  available: boolean;
  loaded: boolean;
  message: string;
  current_model: CurrentModel | null;
}

export interface PredictRequest extends FileRequest {
  lookback: number;
  pred_len: number;
  temperature: number;
  top_p: number;
  sample_count: number;
  seed: number | null;
  calibrate: boolean;
  /** Time of the last candle of the history; candles after it are compared. Null: forecast beyond the last one. */
  as_of: string | null;
  /** Windows to score in a replay, 1–20: the one that ends at as_of, and earlier ones of the same length before it. */
  windows?: number;
}

export interface CandleRow {
  timestamp: string;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  amount: number;
}

export interface Job<T> {
  id: string;
  kind: "predict" | "load-model";
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  progress: number;
  message: string;
  created: string;
  finished: string | null;
  result: T | null;
  error: ApiErrorDocument | null;
  /** Relative URL of server-sent events: progress, done, failed, cancelled, closing. */
  events: string;
}

/** One row of the comparison of a replay; errors are of the log return of the close since the last known one. */
export interface ReplayRow {
  name: string;
  kind: "raw" | "calibrated" | "baseline" | "reference";
  /** Mean over the known steps of the fair CRPS, and of the absolute error of the median. */
  crps: number;
  mae: number;
  /**
   * CRPS skill against the reference, 1 - crps / crps_reference; null for the reference itself. All intervals are 95 %
   * bootstrap intervals over windows, null below five windows.
   */
  skill: number | null;
  skill_low: number | null;
  skill_high: number | null;
  /** Share of the known closes inside the 50, 80 and 95 % bands; null for point forecasts. */
  inside_50: number | null;
  inside_50_low: number | null;
  inside_50_high: number | null;
  inside_80: number | null;
  inside_80_low: number | null;
  inside_80_high: number | null;
  inside_95: number | null;
  inside_95_low: number | null;
  inside_95_high: number | null;
  /** Both losses in units of σ√h; null where the history does not move, absent from older results. */
  crps_scaled?: number | null;
  mae_scaled?: number | null;
  /** Scores of the shown window alone; absent from older results. */
  window_crps?: number | null;
  window_mae?: number | null;
  window_inside_80?: number | null;
}

export interface ReplayScores {
  /** Windows that the scores are means of: the one shown, and earlier ones (`windows` of the request). */
  windows: number;
  /** Steps of the shown window whose outcome is known. */
  known_steps: number;
  reference: string;
  /** The calibration was fitted on outcomes after the origin: its row is no fair test. Absent from older results. */
  look_ahead?: boolean;
  rows: ReplayRow[];
}

export interface CandleColumnsDocument {
  time: number[];
  open: number[];
  high: number[];
  low: number[];
  close: number[];
  volume: number[] | null;
}

export interface ProbabilityDocument {
  value: number;
  low: number;
  high: number;
  count: number;
  paths: number;
}

/** POST /api/predict, the result of POST /api/jobs/predict, and GET /api/results/{id}. Saved under `id`. */
export interface PredictResponse {
  id: string;
  prediction_type: string;
  message: string;
  model: string;
  state: "raw" | "calibrated";
  simulated: boolean;
  lookback: number;
  has_comparison: boolean;
  /** Absent from results that older releases saved; then there is nothing to redraw but the table. */
  view?: ForecastView;
  forecast: {
    symbol: string | null;
    interval: string;
    timezone: string | null;
    as_of: string;
    last_close: number;
    horizon: number;
    samples: number;
    simulated: boolean;
    notes: string[];
    made: {
      model: string;
      calibrated: boolean;
      calendar: string;
      calendar_basis: string;
      details: Record<string, unknown>;
    };
    timestamps: string[];
    mean: Record<string, number[]>;
    median: Record<string, number[]>;
    /** By probability, such as "0.025", "0.25", "0.5", "0.75", "0.975" and "0.1", "0.9" for the 80 % band. */
    close_quantiles: Record<string, number[]>;
    upside_probability: { value: number; low: number; high: number; count: number; paths: number };
    value_at_risk: number;
    expected_shortfall: number;
  };
  /** Closes of the first sampled paths, at most 100. */
  paths: number[][];
  scores: unknown;
}

/** What the workbench draws, and the request that made it. */
export interface ForecastView {
  request: PredictRequest;
  /** Name of the file for commands, such as "ACME_daily.csv"; absent from older results. */
  file_name?: string;
  digits: number;
  /** The candles that the model was given, and the actual ones after them in a replay. */
  history: CandleColumnsDocument;
  actual: CandleColumnsDocument | null;
  /** Opens of the forecast candles, UTC epoch seconds. */
  time: number[];
  /** The medoid: a real sampled path, and its index. */
  central: CandleColumnsDocument;
  central_path: number;
  scores: ReplayScores | null;
}

/** GET /api/results/{id}/probability?event=above|below|touch|between&price=…[&upper=…][&step=…]; step from 1, -1 the last. */
export interface ProbabilityResponse extends ProbabilityDocument {
  event: "above" | "below" | "touch" | "between";
  price: number;
  upper: number | null;
  step: number;
}

export interface DataFile {
  name: string;
  path: string;
  size: number;
  modified: string;
}

/** POST /api/uploads, multipart: `file`, and `options`, a JSON text of ReadOptions. */
export interface UploadResponse {
  id: string;
  file_path: string;
  name: string;
  size: number;
  uploaded: string;
  data_info: DataInfo;
}

export interface SavedResult {
  id: string;
  created: string;
  size: number;
  /** Null for results that older releases saved. */
  summary: {
    symbol: string | null;
    interval: string;
    model: string;
    state: "raw" | "calibrated";
    as_of: string;
    horizon: number;
    replay: boolean;
    simulated: boolean;
  } | null;
}

export interface AssetsResponse {
  assets: { symbol: string; name: string; supported: boolean }[];
  count: number;
}
