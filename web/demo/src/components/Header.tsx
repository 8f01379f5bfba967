/** The head of the page: brand, language, looks. */

import { Menu, Select } from "../../../src/components/controls";
import { Logo } from "../../../src/components/Logo";
import { language, t } from "../../../src/i18n";
import {
  chooseLanguage,
  paletteChoice,
  type PaletteName,
  paletteName,
  PALETTES,
  theme,
  THEMES,
} from "../../../src/state/settings";
import { simulated } from "../state/file";
import { text } from "../texts";

export function Header() {
  const other = language.value === "zh" ? "en" : "zh";
  return (
    <header class="header">
      <a class="skip" href="#main">
        {t("page.skip")}
      </a>
      <Logo />
      <h1>
        {t("page.brand")} <span class="wide-only">{text("page.name")}</span>
      </h1>
      {simulated.value && (
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
      <Menu label={t("page.settings")} class="right">
        {() => (
          <div class="settings">
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
          </div>
        )}
      </Menu>
    </header>
  );
}
