/** Files that the page saves, with names that say what they hold. */

const LONGEST_SERIES = 60;
const KEPT_MS = 10_000;

/** Name of a file by its series, its interval and the time of the last known candle; the server names its files so too. */
export function downloadStem(series: string, interval: string, asOf: string): string {
  const safe = series
    .replace(/[^\p{L}\p{N}_.-]+/gu, "-")
    .replace(/^[-._]+|[-._]+$/g, "")
    .slice(0, LONGEST_SERIES);
  const clock = asOf.slice(11, 16).replace(":", "");
  const named = safe.endsWith(`_${interval}`) ? safe.slice(0, -interval.length - 1) : safe; // as files often are
  return `${named || "series"}_${interval}_${asOf.slice(0, 10)}${!clock || clock === "0000" ? "" : `_${clock}`}`;
}

/** The name that the server gives a file, from the header `Content-Disposition`. */
export function sentName(header: string | null): string | null {
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(header ?? "")?.[1];
  return encoded ? decodeURIComponent(encoded) : (/filename="([^"]+)"/.exec(header ?? "")?.[1] ?? null);
}

export function saveFile(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
