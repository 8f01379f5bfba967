/** How the page looks, remembered in this browser; an address may override it for one view. */

import { computed, effect, signal } from "@preact/signals";

import type { ChartPalette, PriceScale } from "../chart/types";
import palettes from "../../../src/kronos/reports/shared/palettes.json";
import type { Language } from "../formats";
import { language, setLanguage } from "../i18n";
import type { ViewSettings } from "./url";

export const THEMES = ["auto", "dark", "light"] as const;
export const PALETTES = ["green-up", "red-up", "colour-blind"] as const;
export const ZONES = ["exchange", "UTC", "local"] as const;
export const SCALES = ["linear", "log", "percent"] as const;

export type Theme = (typeof THEMES)[number];
export type PaletteName = (typeof PALETTES)[number];
export type ZoneChoice = (typeof ZONES)[number];

const STORE = "kronos.workbench";
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const systemLight = matchMedia("(prefers-color-scheme: light)");

export const theme = signal<Theme>("auto");
/** Null until chosen: then it follows the language. */
export const paletteChoice = signal<PaletteName | null>(null);
export const languageChoice = signal<Language | null>(null);
export const zoneChoice = signal<ZoneChoice>("exchange");
export const scale = signal<PriceScale>("linear");
/** Interval of the chart, null for that of the candles. It goes with the data, so that only the address remembers it. */
export const intervalChoice = signal<string | null>(null);
export const reducedMotion = signal(matchMedia("(prefers-reduced-motion: reduce)").matches);

// Dark unless the system asks for light: charts are mostly read on dark screens.
const prefersLight = signal(systemLight.matches && !systemDark.matches);
systemLight.addEventListener("change", () => (prefersLight.value = systemLight.matches));
matchMedia("(prefers-reduced-motion: reduce)").addEventListener(
  "change",
  (event) => (reducedMotion.value = event.matches),
);

export const themeName = computed<"dark" | "light">(() =>
  theme.value === "auto" ? (prefersLight.value ? "light" : "dark") : theme.value,
);
export const paletteName = computed<PaletteName>(
  () => paletteChoice.value ?? (language.value === "zh" ? "red-up" : "green-up"),
);

/** Colours by name: those of the theme and those of the palette. */
export const colours = computed<Record<string, string>>(() => ({
  ...palettes.themes[themeName.value],
  ...palettes.palettes[paletteName.value][themeName.value],
}));

export const chartPalette = computed<ChartPalette>(() => {
  const named = colours.value;
  return {
    ground: named["ground"]!,
    grid: named["grid"]!,
    text: named["text"]!,
    muted: named["muted"]!,
    forecast: named["forecast"]!,
    up: named["up"]!,
    down: named["down"]!,
    hollowUp: paletteName.value === "colour-blind",
  };
});

/** Zone that times are shown in, given that of the data (null: none stated). */
export function shownZone(dataZone: string | null): string {
  if (dataZone === null) return "UTC"; // a clock without a zone cannot be converted
  if (zoneChoice.value === "exchange") return dataZone;
  return zoneChoice.value === "UTC" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** The chosen settings, for the address and for the store; what is as by default is left out. */
export const chosen = computed<ViewSettings>(() => {
  const settings: ViewSettings = {};
  if (theme.value !== "auto") settings.theme = theme.value;
  if (languageChoice.value) settings.lang = languageChoice.value;
  if (paletteChoice.value) settings.palette = paletteChoice.value;
  if (zoneChoice.value !== "exchange") settings.zone = zoneChoice.value;
  if (scale.value !== "linear") settings.scale = scale.value;
  return settings;
});

function oneOf<T extends string>(values: readonly T[], value: string | undefined): T | undefined {
  return values.find((one) => one === value);
}

function browserLanguage(): Language {
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Apply settings of an address; absent ones stay as they are. */
export async function applySettings(settings: ViewSettings): Promise<void> {
  theme.value = oneOf(THEMES, settings.theme) ?? theme.value;
  paletteChoice.value = oneOf(PALETTES, settings.palette) ?? paletteChoice.value;
  zoneChoice.value = oneOf(ZONES, settings.zone) ?? zoneChoice.value;
  scale.value = oneOf(SCALES, settings.scale) ?? scale.value;
  languageChoice.value = oneOf(["en", "zh"] as const, settings.lang) ?? languageChoice.value;
  await setLanguage(languageChoice.value ?? browserLanguage());
}

const RED_UP_STORE = "kronos.red-up";
/** Rising candles have just become red with the language, for the first time in this browser. */
export const redUpNews = signal(false);

function announceRedUp(before: PaletteName): void {
  redUpNews.value = false;
  if (paletteName.value !== "red-up" || before === "red-up") return;
  try {
    if (localStorage.getItem(RED_UP_STORE)) return;
    localStorage.setItem(RED_UP_STORE, "1");
  } catch {
    // Without storage it is announced each time.
  }
  redUpNews.value = true;
}

export async function chooseLanguage(next: Language): Promise<void> {
  const before = paletteName.value;
  try {
    await setLanguage(next);
  } catch {
    return; // The texts come from the server: while it is away, as the page says elsewhere, the language stays.
  }
  languageChoice.value = next;
  announceRedUp(before);
}

/** Read the remembered settings, apply those of the address, and keep the document in step with them. */
export async function startSettings(address: ViewSettings): Promise<void> {
  await applySettings({ ...readStore(), ...address });
  effect(() => {
    try {
      localStorage.setItem(STORE, JSON.stringify(chosen.value));
    } catch {
      // Storage is blocked or full: the settings then last as long as the page.
    }
  });
  effect(() => {
    const root = document.documentElement;
    root.lang = language.value === "zh" ? "zh-CN" : "en";
    root.dataset["theme"] = themeName.value;
    root.dataset["palette"] = paletteName.value;
    root.style.colorScheme = themeName.value;
    for (const [name, value] of Object.entries(colours.value)) root.style.setProperty(`--${name}`, value);
  });
}

function readStore(): ViewSettings {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(STORE) ?? "{}");
    return typeof stored === "object" && stored !== null ? (stored as ViewSettings) : {};
  } catch {
    return {};
  }
}
