/** The shown forecast as a command and as Python: the same seed gives the same numbers there. */

import { command, python } from "../../src/snippets";
import type { ForecastResult } from "./state/forecast";

export type SnippetKind = "command" | "python";

type Described = Pick<ForecastResult, "settings" | "source" | "file" | "reading"> & {
  readonly answer: { readonly metadata: { readonly model: string; readonly lookback: number } };
};

export function snippet(kind: SnippetKind, { answer, settings, source, file, reading }: Described): string {
  const { simulated, name } = source;
  const request = {
    file_path: simulated ? "sample:simulated_btc_1h" : "upload", // a file's own name may begin like a sample's
    // The command names a series by its file, Python's function leaves it without a name.
    ...(simulated || file.named ? {} : { symbol: file.symbol }),
    ...(reading.interval === undefined ? {} : { interval: reading.interval }),
    ...(reading.decimal === undefined ? {} : { decimal: reading.decimal }),
    ...(reading.columns === undefined ? {} : { columns: { ...reading.columns } }),
    ...(settings.calendar === null ? {} : { calendar: settings.calendar }),
    lookback: answer.metadata.lookback,
    pred_len: settings.horizon,
    temperature: settings.temperature,
    top_p: settings.topP,
    sample_count: settings.samples,
    seed: settings.seed,
    calibrate: settings.calibrate,
    as_of: null,
  };
  const context = {
    fileName: name,
    model: answer.metadata.model,
    interval: file.interval,
    ...(settings.market === null ? {} : { market: settings.market }),
    server: "",
    withKey: false,
  };
  return kind === "command" ? command(request, context) : python(request, context);
}
