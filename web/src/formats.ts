/** Numbers, times and durations as text. Everything takes its locale and zone, so that it can be tested. */

export type Language = "en" | "zh";

export const LOCALES: Record<Language, string> = { en: "en-GB", zh: "zh-CN" };

const numbers = new Map<string, Intl.NumberFormat>();
const clocks = new Map<string, Intl.DateTimeFormat>();

/** Intl objects cost more to construct than to use: a legend that follows the crosshair needs them cached. */
function numberFormat(locale: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = locale + JSON.stringify(options);
  let format = numbers.get(key);
  if (!format) numbers.set(key, (format = new Intl.NumberFormat(locale, options)));
  return format;
}

export function price(value: number, digits: number, language: Language): string {
  return numberFormat(LOCALES[language], { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(
    value,
  );
}

export function integer(value: number, language: Language): string {
  return numberFormat(LOCALES[language], { maximumFractionDigits: 0 }).format(value);
}

export function decimal(value: number, digits: number, language: Language): string {
  return price(value, digits, language);
}

/** 1,234,567 as 1.23M in English and 123.46万 in Chinese. */
export function compact(value: number, language: Language): string {
  const locale = language === "en" ? "en-US" : "zh-CN"; // British English writes a lower-case "m"
  return numberFormat(locale, { notation: "compact", maximumFractionDigits: 2 }).format(value);
}

export function percent(share: number, digits: number, language: Language): string {
  return numberFormat(LOCALES[language], {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(share);
}

/** A change with sign and arrow, so that its direction does not depend on colour. */
export function change(share: number, language: Language): string {
  const arrow = share > 0 ? "▲" : share < 0 ? "▼" : "■";
  const text = numberFormat(LOCALES[language], {
    style: "percent",
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
    signDisplay: "exceptZero",
  }).format(share);
  return `${arrow} ${text.replace("-", "−")}`;
}

export function bytes(size: number, language: Language): string {
  const [value, unit] = size < 1e6 ? [size / 1e3, "KB"] : [size / 1e6, "MB"];
  return `${price(value, value < 10 ? 1 : 0, language)} ${unit}`;
}

function clock(zone: string): Intl.DateTimeFormat {
  let format = clocks.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    clocks.set(zone, format);
  }
  return format;
}

/** ISO date and time in a zone, "2026-11-01 14:00"; seconds only where there are any. */
export function dateTime(time: number, zone: string): string {
  const part: Record<string, string> = {};
  for (const { type, value } of clock(zone).formatToParts(time * 1000)) part[type] = value;
  const seconds = part["second"] === "00" ? "" : `:${part["second"]}`;
  return `${part["year"]}-${part["month"]}-${part["day"]} ${part["hour"]}:${part["minute"]}${seconds}`;
}

/** The date alone for candles of a day and longer; they open at midnight. */
export function candleTime(time: number, zone: string, seconds: number): string {
  const text = dateTime(time, zone);
  return seconds >= 86_400 && text.endsWith(" 00:00") ? text.slice(0, 10) : text;
}

/** Time as the server takes it: with Z, or without a zone for candles whose file states none. */
export function isoTime(time: number, naive: boolean): string {
  const text = new Date(time * 1000).toISOString().slice(0, 19);
  return naive ? text : `${text}Z`;
}

/** Epoch seconds of an ISO text; one without a zone is read as UTC, as the server counts naive times. */
export function parseTime(text: string): number {
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text.length > 10 ? text : `${text}T00:00:00`}Z`;
  return Date.parse(zoned.replace(" ", "T")) / 1000;
}

const UNITS: Record<string, number> = { s: 1, m: 60, min: 60, h: 3600, d: 86_400, w: 604_800, mo: 2_629_746 };

/** Seconds of an interval such as "15m", "1h", "1d"; 0 if it is none. */
export function intervalSeconds(interval: string): number {
  const match = /^(\d+)\s*(s|min|mo|m|h|d|w)$/i.exec(interval.trim());
  return match ? Number(match[1]) * (UNITS[match[2]!.toLowerCase()] ?? 0) : 0;
}

/** A countdown or an age: 1:05:09 below a day, "3 d 4 h" above. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const days = Math.floor(whole / 86_400);
  const hours = Math.floor((whole % 86_400) / 3600);
  if (days) return `${days} d ${hours} h`;
  const minutes = Math.floor((whole % 3600) / 60);
  const two = (value: number): string => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
