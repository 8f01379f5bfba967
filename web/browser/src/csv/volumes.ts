/** Volume and amount: checked against each other, and completed, as Python's `kronos.candles`. */

import type { FindingCollector } from "./findings";
import { normalizeLabel, type ColumnLayout } from "./columns";
import type { Rows } from "./cleaning";
import { AMOUNT, CHANNELS, CLOSE, VOLUME, columnOf } from "../candles";
import { DataError } from "../errors";
import { truncate } from "../formatting";
import { mean, median } from "../statistics";

const LEAST_ROWS = 20;
const [RATE, UNIT] = [1e-6, 1e6]; // amount / (volume × price): below and above no unit explains it
const [LEAST_SAME, MOST_SAME] = [0.5, 2];

/** Check the amount; exchange it with the volume, or discard it, if it cannot be one. Returns whether there is one. */
export function checkAmounts(values: Float64Array, layout: ColumnLayout, findings: FindingCollector): boolean {
  const [volumeAt, amountAt] = [layout.columns.get("volume"), layout.columns.get("amount")];
  if (amountAt === undefined || volumeAt === undefined) return false;
  const [close, volume, amount] = [CLOSE, VOLUME, AMOUNT].map((column) => columnOf(values, column)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const known = [...close.keys()].filter((i) => close[i]! > 0 && volume[i]! > 0 && amount[i]! > 0);
  if (known.length < LEAST_ROWS) return true;
  const ratio = median(known.map((i) => amount[i]! / (volume[i]! * close[i]!)));
  const exchanged = median(known.map((i) => volume[i]! / (amount[i]! * close[i]!)));
  const label = (position: number): string => truncate(layout.labels[position]!);
  const both = `'${label(volumeAt)}' and '${label(amountAt)}'`;
  const given = layout.given.has("volume") || layout.given.has("amount");
  if (!given && exchanged > LEAST_SAME && exchanged < MOST_SAME && !(ratio > 1e-3 && ratio < 1e3)) {
    for (let row = 0; row < values.length; row += CHANNELS) {
      [values[row + VOLUME], values[row + AMOUNT]] = [values[row + AMOUNT]!, values[row + VOLUME]!];
    }
    findings.add(
      "amount-and-volume",
      "info",
      `Columns ${both} of ${findings.name} were read as amount and volume, since the former is price × the latter.`,
    );
    return true;
  }
  if (
    ["volume", "volumi", "volumen"].includes(normalizeLabel(layout.labels[amountAt]!)) &&
    !(ratio > 0.2 && ratio < 5)
  ) {
    throw new DataError(
      `Neither of the columns ${both} of ${findings.name} is the value of the other, so which is the volume is not clear: ` +
        "name it with columns={'volume': '…'}.",
    );
  }
  if (ratio < RATE || ratio > UNIT) {
    const what = median(known.map((i) => amount[i]!)) < 100 ? "a rate" : "something else";
    findings.add(
      "not-an-amount",
      "warning",
      `Column '${label(amountAt)}' of ${findings.name} is not an amount but ${what}: it is far from volume × price and was ` +
        "ignored.",
    );
    return false;
  }
  return true;
}

/** Fill missing volume and amount in place; without volume both are 0, as in the models' training data. */
export function fillVolume(rows: Rows, layout: ColumnLayout, hasAmount: boolean, findings: FindingCollector): void {
  const { values } = rows;
  const { name } = findings;
  if (!layout.columns.has("volume")) {
    reportNoVolume(layout, findings);
    values.forEach((_, i) => (i % CHANNELS >= VOLUME ? (values[i] = 0) : undefined));
    return;
  }
  fill(rows, VOLUME, "volume", findings);
  if (hasAmount) fill(rows, AMOUNT, "amount", findings);
  else {
    // Volume is valued at the mean price of the candle, as in the models' training data.
    for (let row = 0; row < values.length; row += CHANNELS) {
      const value = values[row + VOLUME]! * mean(values.subarray(row, row + VOLUME));
      values[row + AMOUNT] = Math.min(Math.max(value, 0), Number.MAX_VALUE);
    }
    findings.add("no-amount", "info", `${name} has no amount; it was set to volume × mean price.`);
  }
  reportIdle(rows, findings);
}

function reportNoVolume(layout: ColumnLayout, findings: FindingCollector): void {
  const { name } = findings;
  const amountAt = layout.columns.get("amount");
  if (amountAt === undefined) {
    findings.add("no-volume", "info", `${name} has no volume; volume and amount are 0.`);
    return;
  }
  const label = truncate(layout.labels[amountAt]!);
  findings.add(
    "no-volume",
    "warning",
    `${name} has no volume, so '${label}' was ignored; if that is the volume, give columns={'volume': '${label}'}.`,
  );
}

function fill({ values, positions }: Rows, column: number, word: string, findings: FindingCollector): void {
  const at = (i: number): number => i * CHANNELS + column;
  const missing = [...positions.keys()].filter((i) => !Number.isFinite(values[at(i)]!));
  const negative = [...positions.keys()].filter((i) => Number.isFinite(values[at(i)]!) && values[at(i)]! < 0);
  for (const [kind, some] of [
    ["missing", missing],
    ["negative", negative],
  ] as const) {
    for (const i of some) values[at(i)] = 0;
    const message = `{count} ${kind} ${word} value(s) were set to 0 ({where}).`;
    const where = some.map((i) => positions[i]!);
    if (some.length) findings.add(`${kind}-${word}`, "warning", message, where);
  }
}

function reportIdle({ values, positions }: Rows, findings: FindingCollector): void {
  const idle = [...positions.keys()].filter((i) => values[i * CHANNELS + VOLUME] === 0);
  if (idle.length === positions.length) {
    findings.add("zero-volume", "warning", `The volume of ${findings.name} is 0 throughout.`);
  } else if (idle.length) {
    let longest = 0;
    let run = 0;
    idle.forEach((row, i) => (longest = Math.max(longest, (run = i && row === idle[i - 1]! + 1 ? run + 1 : 1))));
    const message = `{count} row(s) have zero volume, at most ${longest} in a row ({where}).`;
    findings.add(
      "zero-volume",
      "info",
      message,
      idle.map((i) => positions[i]!),
    );
  }
}
