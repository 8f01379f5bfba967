/** The head of the page: brand, state of the server, language, settings, help. */

import type { Signal } from "@preact/signals";
import { useId } from "preact/hooks";

import { apiKey, setApiKey } from "../api/client";
import { language, t } from "../i18n";
import { simulated } from "../state/page";
import { chooseLanguage, scale, SCALES, zoneChoice, ZONES } from "../state/settings";
import { Menu, Select } from "./controls";
import { LookFields, PageHeader } from "./PageHeader";

export function Header({ help }: { help: Signal<boolean> }) {
  return (
    <PageHeader name={t("page.workbench")} simulated={simulated.value}>
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
    </PageHeader>
  );
}

function Settings() {
  return (
    <div class="settings" data-settings>
      <LookFields />
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
