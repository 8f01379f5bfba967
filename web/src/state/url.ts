/** The address of the page: which results it shows, how, and the request that has not been sent yet. */

import type { FileRequest } from "../api/types";

export type Mode = "now" | "replay" | "anchored";

/** Parameters of a forecast as the page holds them. */
export interface ForecastParameters {
  mode: Mode;
  lookback: number;
  horizon: number;
  /** Open of the last candle of the history, UTC epoch seconds; null until chosen. Only for replays. */
  end: number | null;
  temperature: number;
  topP: number;
  samples: number;
  seed: number | null;
  calibrate: boolean;
  /** Windows to score in a replay; five or more give intervals. */
  windows: number;
}

export const DEFAULT_PARAMETERS: Readonly<ForecastParameters> = {
  mode: "now",
  lookback: 400,
  horizon: 120,
  end: null,
  temperature: 1,
  topP: 1,
  samples: 100,
  seed: null,
  calibrate: true,
  windows: 8,
};

/** Ranges that the server accepts. */
export const RANGES = {
  lookback: { min: 2, max: 10_000 },
  horizon: { min: 1, max: 2_000 },
  temperature: { min: 0.1, max: 2 },
  topP: { min: 0.1, max: 1 },
  samples: { min: 1, max: 200 },
  windows: { min: 1, max: 20 },
  seed: { min: 0, max: 2 ** 31 - 1 },
} as const;

export interface ViewSettings {
  theme?: string;
  lang?: string;
  palette?: string;
  zone?: string;
  scale?: string;
}

export interface PageAddress {
  results: string[];
  settings: ViewSettings;
  /** Interval of the chart where it is not that of the candles. */
  interval: string | null;
  file: FileRequest | null;
  parameters: Partial<ForecastParameters>;
}

const SETTINGS = ["theme", "lang", "palette", "zone", "scale"] as const;
const OPTIONS = ["symbol", "interval", "timezone", "calendar", "decimal", "thousands", "date_format"] as const;
const NUMBERS = [
  ["lookback", "lookback"],
  ["horizon", "horizon"],
  ["temperature", "temperature"],
  ["top_p", "topP"],
  ["samples", "samples"],
  ["seed", "seed"],
  ["windows", "windows"],
] as const;

/** Write an address; what is as by default is left out, so that addresses stay short. */
export function formatAddress(address: PageAddress): string {
  const query = new URLSearchParams();
  if (address.results.length) query.set("result", address.results.join(","));
  if (address.file) {
    query.set("file", address.file.file_path);
    for (const name of OPTIONS) if (address.file[name] !== undefined) query.set(name, address.file[name]);
    if (address.file.header !== undefined) query.set("header", String(address.file.header));
    for (const [column, name] of Object.entries(address.file.columns ?? {}))
      query.append("column", `${column}=${name}`);
  }
  const { parameters } = address;
  if (parameters.mode && parameters.mode !== DEFAULT_PARAMETERS.mode) query.set("mode", parameters.mode);
  if (parameters.end != null) query.set("end", new Date(parameters.end * 1000).toISOString().slice(0, 19));
  for (const [name, field] of NUMBERS) {
    const value = parameters[field];
    if (value != null && value !== DEFAULT_PARAMETERS[field]) query.set(name, String(value));
  }
  if (parameters.calibrate === false) query.set("raw", "1");
  for (const name of SETTINGS) if (address.settings[name]) query.set(name, address.settings[name]);
  if (address.interval) query.set("shown", address.interval);
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/");
  return text ? `?${text}` : "";
}

const RESULT_ID = /^[\w.-]{1,60}$/;
const MOST_RESULTS = 6;
const CONTROL = /\p{Cc}/u;
const LONGEST_SHOWN = 40;
/** As the server limits paths. */
const LONGEST_PATH = 500;

/** Parts of an address that `parseAddress` ignores, as written, so that the page can say so. */
export function ignoredParts(search: string): string[] {
  const query = new URLSearchParams(search);
  const found: [string, string][] = [];
  const results = [...new Set((query.get("result") ?? "").split(",").filter(Boolean))];
  const usable = results.filter((id) => RESULT_ID.test(id));
  for (const id of [...results.filter((id) => !RESULT_ID.test(id)), ...usable.slice(MOST_RESULTS)])
    found.push(["result", id]);
  const used = parseAddress(search);
  if (query.get("file") && !used.file) found.push(["file", query.get("file")!]);
  if (used.file && query.has("header") && used.file.header === undefined) found.push(["header", query.get("header")!]);
  for (const pair of query.getAll("column")) if (pair.indexOf("=") <= 0) found.push(["column", pair]);
  for (const [name, field] of [["mode", "mode"], ["end", "end"], ...NUMBERS] as const) {
    const value = query.get(name);
    if (value && used.parameters[field] === undefined) found.push([name, value]);
  }
  return found.map(
    ([name, value]) => `${name}=${value.length > LONGEST_SHOWN ? `${value.slice(0, LONGEST_SHOWN)}…` : value}`,
  );
}

/** Read an address. Unknown and impossible values are ignored: the page then has its defaults. */
export function parseAddress(search: string): PageAddress {
  const query = new URLSearchParams(search);
  const settings: ViewSettings = {};
  for (const name of SETTINGS) {
    const value = query.get(name);
    if (value) settings[name] = value;
  }
  const results = (query.get("result") ?? "").split(",").filter((id) => RESULT_ID.test(id));
  const interval = query.get("shown") ?? "";
  return {
    interval: /^\d{1,3}[mhdw]$/.test(interval) ? interval : null,
    results: [...new Set(results)].slice(0, MOST_RESULTS),
    settings,
    file: parseFile(query),
    parameters: parseParameters(query),
  };
}

function parseFile(query: URLSearchParams): FileRequest | null {
  const path = query.get("file");
  if (!path || path.length > LONGEST_PATH || CONTROL.test(path)) return null;
  const file: FileRequest = { file_path: path };
  for (const name of OPTIONS) {
    const value = query.get(name);
    if (value !== null) file[name] = value;
  }
  const header = query.get("header");
  if (header !== null && /^\d+$/.test(header)) file.header = Number(header);
  const columns = query.getAll("column").filter((pair) => pair.indexOf("=") > 0);
  if (columns.length)
    file.columns = Object.fromEntries(
      columns.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
    );
  return file;
}

function parseParameters(query: URLSearchParams): Partial<ForecastParameters> {
  const parameters: Partial<ForecastParameters> = {};
  const mode = query.get("mode");
  if (mode === "now" || mode === "replay" || mode === "anchored") parameters.mode = mode;
  const end = query.get("end");
  const time = end ? Date.parse(`${end}Z`) : Number.NaN;
  if (!Number.isNaN(time)) parameters.end = time / 1000;
  for (const [name, field] of NUMBERS) {
    const text = query.get(name);
    const value = Number(text);
    const { min, max } = RANGES[field];
    if (text && value >= min && value <= max) parameters[field] = value;
  }
  if (query.get("raw") === "1") parameters.calibrate = false;
  return parameters;
}
