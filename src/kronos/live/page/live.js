"use strict";

// The state of the page in the browser: theme, age of the forecast, countdown, and reloading when there is a newer one.
// Everything else is in the page itself, which is complete without this script.

const THEME = "kronos-live-theme";
const POLL = 60_000; // milliseconds between looks at the published file
const TICK = 1_000;

const root = document.documentElement;

function remembered() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // storage is switched off
  }
}

function applyTheme(theme) {
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
}

applyTheme(remembered()); // before the body is drawn

function currentTheme() {
  return root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function toggleTheme() {
  const theme = currentTheme() === "dark" ? "light" : "dark";
  applyTheme(theme);
  try {
    localStorage.setItem(THEME, theme);
  } catch {
    // the theme holds until the page is left
  }
}

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];
const relative = new Intl.RelativeTimeFormat(root.lang, { numeric: "always" });

// "in 23 minutes", "2 hours ago": the largest unit of which there are at least two, or the smallest.
function spell(seconds) {
  const size = Math.abs(seconds);
  const [unit, length] = UNITS.find(([, length]) => size >= 2 * length) ?? UNITS.at(-1);
  return relative.format(Math.trunc(seconds / length), unit);
}

// "12:34" or "1:02:03" until the next candle closes.
function countdown(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  const parts = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60].map((part) => String(part).padStart(2, "0"));
  return (parts[0] === "00" ? parts.slice(1) : parts).join(":");
}

function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

class Freshness {
  constructor(banner) {
    this.banner = banner;
    const time = (name) => Date.parse(banner.dataset[name]);
    [this.asOf, this.next, this.lateAt, this.staleAt] = ["asOf", "next", "lateAt", "staleAt"].map(time);
    this.words = document.getElementById("state");
    this.age = document.getElementById("age");
    this.countdown = document.getElementById("countdown");
  }

  state(now) {
    if (now > this.staleAt) return "stale";
    return now > this.lateAt ? "late" : "fresh";
  }

  show() {
    const now = Date.now();
    const state = this.state(now);
    const left = (this.next - now) / 1000;
    root.dataset.freshness = state;
    this.banner.classList.remove("fresh", "late", "stale");
    this.banner.classList.add(state);
    write(this.age, spell((this.asOf - now) / 1000));
    write(this.countdown, left > 0 ? countdown(left) : this.banner.dataset.due);
    write(this.words, this.banner.dataset[state]); // announced by a screen reader, so without the seconds
  }
}

// Reloads the page once the published forecast is newer, or the record has grown.
async function poll(banner) {
  if (document.hidden) return;
  try {
    const response = await fetch(banner.dataset.feed, { cache: "no-cache" });
    if (!response.ok) return;
    const { as_of: asOf, head } = await response.json();
    const newer = Date.parse(asOf) > Date.parse(banner.dataset.asOf);
    if (newer || (head?.seq ?? 0) > Number(banner.dataset.seq)) location.reload();
  } catch {
    // offline, or between two versions of the file: the page shows its age in any case
  }
}

function start() {
  const button = document.getElementById("theme");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", toggleTheme);
  }
  const banner = document.getElementById("freshness");
  if (!banner) return;
  const freshness = "replay" in banner.dataset ? null : new Freshness(banner); // a replay has its own clock
  freshness?.show();
  if (freshness) setInterval(() => freshness.show(), TICK);
  if (!location.protocol.startsWith("http")) return; // a page opened from disk may not read its neighbours
  setInterval(() => poll(banner), POLL);
  document.addEventListener("visibilitychange", () => {
    freshness?.show();
    poll(banner);
  });
}

document.addEventListener("DOMContentLoaded", start);
