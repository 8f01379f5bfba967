/** The shown forecast as a command, as Python and as curl. */

import type { PredictRequest } from "./api/types";

export interface SnippetContext {
  /** Name of the file as the user knows it; uploads have no other outside of this server. */
  fileName: string;
  /** Key of the model, such as "kronos-nano". */
  model: string;
  /** Market of the calibration's factors; absent where it is inferred. */
  market?: string;
  interval: string;
  /** Address of the server, without a slash at the end. */
  server: string;
  /** The server wants a key. */
  withKey: boolean;
}

const BUNDLED = "kronos-nano";
const DEFAULT_SAMPLES = 100;
/** Reading options in the order of the command's help, with its names. */
const OPTIONS = [
  ["interval", "--interval"],
  ["timezone", "--timezone"],
  ["calendar", "--calendar"],
  ["decimal", "--decimal"],
  ["thousands", "--thousands"],
  ["date_format", "--date-format"],
  ["header", "--header"],
] as const;

export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function isSample(request: PredictRequest): boolean {
  return request.file_path.startsWith("sample:");
}

function assetOf(request: PredictRequest): string | null {
  return request.file_path.startsWith("asset:") ? request.file_path.slice("asset:".length) : null;
}

/** Name of the file in commands: an asset's candles are fetched into one first. */
function fileOf(request: PredictRequest, context: SnippetContext): string {
  const asset = assetOf(request);
  return asset ? `${asset.toLowerCase().replace(/\W+/g, "_")}_${context.interval}.csv` : context.fileName;
}

/** Path of a file argument that cannot be mistaken for an option. */
function argument(name: string): string {
  return shellQuote(name.startsWith("-") ? `./${name}` : name);
}

export function command(request: PredictRequest, context: SnippetContext): string {
  const asset = assetOf(request);
  const file = fileOf(request, context);
  const words = ["kronos forecast", isSample(request) ? "--demo" : argument(file)];
  for (const [name, flag] of OPTIONS)
    if (request[name] != null) words.push(`${flag} ${shellQuote(String(request[name]))}`);
  for (const [column, name] of Object.entries(request.columns ?? {}))
    words.push(`--column ${shellQuote(`${column}=${name}`)}`);
  words.push(`--horizon ${request.pred_len}`, `--lookback ${request.lookback}`);
  if (request.sample_count !== DEFAULT_SAMPLES) words.push(`--samples ${request.sample_count}`);
  if (request.temperature !== 1) words.push(`--temperature ${request.temperature}`);
  if (request.top_p !== 1) words.push(`--top-p ${request.top_p}`);
  if (request.seed !== null) words.push(`--seed ${request.seed}`);
  if (!request.calibrate) words.push("--no-calibrate");
  if (context.market) words.push(`--market ${shellQuote(context.market)}`);
  if (request.as_of !== null) words.push(`--as-of ${shellQuote(request.as_of)}`);
  if (context.model !== BUNDLED) words.push(`--model ${shellQuote(context.model)}`);
  words.push("--plot forecast.png");
  const forecast = words.join(" ");
  if (!asset) return forecast;
  return `kronos data fetch ${shellQuote(asset)} --interval ${context.interval} --output ${shellQuote(file)}\n${forecast}`;
}

function pythonText(value: unknown): string {
  return JSON.stringify(value);
}

export function python(request: PredictRequest, context: SnippetContext): string {
  const reading = ["symbol", ...OPTIONS.map(([name]) => name)] as const;
  const read = reading.flatMap((name) => {
    const value = request[name as keyof PredictRequest];
    return value == null ? [] : [`${name}=${pythonText(value)}`];
  });
  if (request.columns && Object.keys(request.columns).length) read.push(`columns=${pythonText(request.columns)}`);
  const source = isSample(request)
    ? `candles = kronos.read_candles(str(files("kronos.samples") / "simulated_btc_1h.csv"), symbol="BTC simulated", timezone="UTC")`
    : `candles = kronos.read_candles(${[pythonText(fileOf(request, context)), ...read].join(", ")})`;
  const model = context.model === BUNDLED ? "" : pythonText(context.model);
  const history = request.as_of === null ? "candles" : `candles.until(${pythonText(request.as_of)})`;
  const sampling =
    request.temperature === 1 && request.top_p === 1
      ? []
      : [`sampling=kronos.SamplingParams(temperature=${request.temperature}, top_p=${request.top_p})`];
  const options = [
    `horizon=${request.pred_len}`,
    `lookback=${request.lookback}`,
    `samples=${request.sample_count}`,
    ...(request.seed === null ? [] : [`seed=${request.seed}`]),
    ...sampling,
    ...(request.calibrate ? [] : ["calibration=False"]),
    ...(context.market ? [`market=${pythonText(context.market)}`] : []),
  ];
  return [
    ...(isSample(request) ? ["from importlib.resources import files", ""] : []),
    "import kronos",
    "",
    source,
    `model = kronos.KronosPredictor.from_pretrained(${model})`,
    `forecast = model.forecast(${history}, ${options.join(", ")})`,
    "print(forecast.quantiles([0.1, 0.5, 0.9]).tail(1))",
    'forecast.plot(path="forecast.png")',
  ].join("\n");
}

/** The request as the page sends it, without what is left to the server. */
export function curl(request: PredictRequest, context: SnippetContext): string {
  const body = Object.fromEntries(
    Object.entries(request).filter(
      ([name, value]) => value !== null && !(name === "columns" && !Object.keys(value as object).length),
    ),
  );
  const lines = [`curl ${shellQuote(`${context.server}/api/predict`)}`, "-H 'Content-Type: application/json'"];
  if (context.withKey) lines.push('-H "X-API-Key: $KRONOS_KEY"');
  lines.push(`-d ${shellQuote(JSON.stringify(body))}`);
  return lines.join(" \\\n  ");
}
