/** Help: the steps, the keyboard, how to read the bands. */

import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { type MessageKey, t } from "../i18n";

const KEYS: readonly [string, MessageKey][] = [
  ["Tab", "help.key.tab"],
  ["← →", "help.key.arrows"],
  ["PgUp PgDn", "help.key.shift"],
  ["Home End", "help.key.home"],
  ["+ −", "help.key.zoom"],
  ["Enter", "help.key.pick"],
  ["T", "help.key.interval"],
  ["Ctrl Enter", "help.key.run"],
  ["?", "help.key.help"],
  ["Esc", "help.key.escape"],
];

export function Help({ open }: { open: Signal<boolean> }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open.value]);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={() => (open.value = false)}>
      <div class="card-head">
        <h2 id="help-title">{t("help.title")}</h2>
        <button type="button" class="button" onClick={() => (open.value = false)}>
          {t("page.close")}
        </button>
      </div>
      <p>{t("help.intro")}</p>
      <h3>{t("help.reading")}</h3>
      <p>{t("help.reading_text")}</p>
      <h3>{t("help.keys")}</h3>
      <dl class="keys">
        {KEYS.map(([key, text]) => (
          <div key={key}>
            <dt>
              {key.split(" ").map((one) => (
                <kbd key={one}>{one}</kbd>
              ))}
            </dt>
            <dd>{t(text)}</dd>
          </div>
        ))}
      </dl>
      <p>{t("help.more")}</p>
    </dialog>
  );
}
