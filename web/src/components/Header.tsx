/** The head of the page: brand, state of the server, language, settings, help. */

import type { Signal } from "@preact/signals";
import { useId } from "preact/hooks";

import { apiKey, setApiKey } from "../api/client";
import { language, t } from "../i18n";
import { simulated } from "../state/page";
import {
  chooseLanguage,
  type PaletteName,
  PALETTES,
  paletteChoice,
  paletteName,
  scale,
  SCALES,
  theme,
  THEMES,
  zoneChoice,
  ZONES,
} from "../state/settings";
import { Menu, Select } from "./controls";
import { Logo } from "./Logo";

export function Header({ help }: { help: Signal<boolean> }) {
  const other = language.value === "zh" ? "en" : "zh";
  return (
    <header class="header">
      <a class="skip" href="#main">
        {t("page.skip")}
      </a>
      <Logo />
      <h1>
        {t("page.brand")} <span class="wide-only">{t("page.workbench")}</span>
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
        {() => <Settings />}
      </Menu>
      <button
        type="button"
        class="button flat"
        aria-keyshortcuts="?"
        aria-label={t("page.help")}
        onClick={() => (help.value = true)}
      >
        <span aria-hidden="true">?</span>
      </button>
    </header>
  );
}

function Settings() {
  return (
    <div class="settings" data-settings>
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
      <Select
        label={t("settings.language")}
        value={language.value}
        options={[
          ["en", "English"],
          ["zh", "简体中文"],
        ]}
        onChange={(value) => void chooseLanguage(value === "zh" ? "zh" : "en")}
      />
      <Select
        label={t("settings.zone")}
        value={zoneChoice.value}
        options={ZONES.map((one) => [one, t(`settings.zones.${one}`)] as const)}
        onChange={(value) => (zoneChoice.value = ZONES.find((one) => one === value)!)}
      />
      <Select
        label={t("settings.scale")}
        value={scale.value}
        options={SCALES.map((one) => [one, t(`settings.scales.${one}`)] as const)}
        onChange={(value) => (scale.value = SCALES.find((one) => one === value)!)}
      />
      {apiKey.value && (
        <button type="button" class="button" onClick={() => setApiKey("")}>
          {t("settings.forget")}
        </button>
      )}
    </div>
  );
}

/** The field for a key, where the server asks for one. */
export function KeyForm({ rejected, onConnect }: { rejected: boolean; onConnect: () => void }) {
  const id = useId();
  return (
    <form
      class="note notice key-form"
      data-key-form
      onSubmit={(event) => {
        event.preventDefault();
        const field = event.currentTarget.elements.namedItem("key") as HTMLInputElement;
        setApiKey(field.value.trim());
        onConnect();
      }}
    >
      <p class="note-title">{t("server.key_title")}</p>
      <p>{t(rejected ? "server.key_wrong" : "server.key_text")}</p>
      <div class="row">
        <label for={id} class="visually-hidden">
          {t("settings.key")}
        </label>
        <input id={id} name="key" type="password" autocomplete="off" required />
        <button type="submit" class="button primary">
          {t("server.connect")}
        </button>
      </div>
    </form>
  );
}
