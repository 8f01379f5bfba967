/** A caveat of a forecast. */

import { language, t } from "../i18n";

/** Notes that the page can say in other languages, by what is typical of them. */
const NOTES = [
  [/^Used the last ([\d,]+) of ([\d,]+) candles/, "seen"],
  [/^Calibrated \(.*?\) on ([\d,]+) past forecasts, ([\d-]+) to ([\d-]+)/, "calibrated"],
  [/fitted up to step (\d+)/, "fitted"],
  [/^Look-ahead:/, "look_ahead"],
  [/^Partial look-ahead:/, "partial_look_ahead"],
  [/^Only (\d+) paths/, "paths"],
  [/^The calibration has no group '(.*?)'/, "group"],
  [/^Factors of (.*?): the market is inferred/, "market"],
  [/^The calendar matches no known market:/, "no_market"],
  [/^Future times follow the calendar (\S+),.* are projected/, "projected"],
  [/^Future times follow the calendar (\S+),/, "times"],
  [/^Future times repeat the history's own pattern/, "pattern"],
] as const;

/** A caveat; those without a translation are shown in English. */
export function ForecastNote({ text }: { text: string }) {
  if (language.value === "en") return <li>{text}</li>;
  for (const [pattern, code] of NOTES) {
    const [found, a = "", b = "", c = ""] = pattern.exec(text) ?? [];
    if (found !== undefined) return <li title={text}>{t(`notes.${code}`, { a, b, c })}</li>;
  }
  return <li lang="en">{text}</li>;
}
