/** What the heads of all pages have: the way past them, brand, the mark of simulated candles, language and looks. */

import type { ComponentChildren } from "preact";
import { language, t } from "../i18n";
import {
  chooseLanguage,
  type PaletteName,
  PALETTES,
  paletteChoice,
  paletteName,
  theme,
  THEMES,
} from "../state/settings";
import { Select } from "./controls";
import { Logo } from "./Logo";

interface PageHeaderProps {
  /** Name of the page, after the brand. */
  name: string;
  simulated: boolean;
  /** Menus at the end. */
  children: ComponentChildren;
}

export function PageHeader({ name, simulated, children }: PageHeaderProps) {
  const other = language.value === "zh" ? "en" : "zh";
  return (
    <header class="header">
      <a class="skip" href="#main">
        {t("page.skip")}
      </a>
      <Logo />
      <h1>
        {t("page.brand")} <span class="wide-only">{name}</span>
      </h1>
      {simulated && (
        <p class="tag warning" data-simulated title={t("page.simulated_long")}>
          {t("page.simulated")}
        </p>
      )}
      <span class="spacer" />
      <button
        type="button"
        class="button flat"
        lang={other === "zh" ? "zh-CN" : "en"}
        aria-label={t("page.language_label")}
        onClick={() => void chooseLanguage(other)}
      >
        {t("page.language")}
      </button>
      {children}
    </header>
  );
}

/** Fields for theme and palette. */
export function LookFields() {
  return (
    <>
      <Select
        label={t("settings.theme")}
        value={theme.value}
        options={THEMES.map((one) => [one, t(`settings.themes.${one}`)] as const)}
        onChange={(value) => (theme.value = THEMES.find((one) => one === value)!)}
      />
      <Select
        label={t("settings.palette")}
        value={paletteName.value}
        options={PALETTES.map((one) => [one, t(`settings.palettes.${one}`)] as const)}
        onChange={(value) => (paletteChoice.value = value as PaletteName)}
      />
    </>
  );
}
