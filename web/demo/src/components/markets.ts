/** Names of the calibration's markets and groups. */

import { intervalSeconds } from "../../../src/formats";
import { text } from "../texts";

const MARKETS = ["cn_ashare", "cn_futures", "commodity_cfd", "crypto", "fx", "index", "us_equity"] as const;

/** The name of a market in the language of the page; the calibration's own word if the page has none. */
export function marketName(market: string): string {
  const known = MARKETS.find((one) => one === market);
  return known ? text(`markets.${known}`) : market;
}

/** The name of a group such as `crypto 1h`: a market, and an interval if it has one. */
export function groupName(group: string): string {
  const [market = "", ...interval] = group.split(" ");
  return [marketName(market), ...interval].join(" ");
}

/** Groups by market, their intervals from short to long: `crypto 15m, 1h, 1d; FX 1h`. */
export function groupNames(groups: readonly string[]): string {
  const intervals = new Map<string, string[]>();
  for (const group of groups) {
    const [market = "", interval = ""] = group.split(" ");
    intervals.set(market, [...(intervals.get(market) ?? []), interval]);
  }
  const lists = [...intervals].map(([market, names]) => {
    const ordered = names.toSorted((a, b) => intervalSeconds(a) - intervalSeconds(b));
    return `${marketName(market)} ${ordered.join(text("lists.comma"))}`;
  });
  return lists.join(text("lists.semicolon"));
}
