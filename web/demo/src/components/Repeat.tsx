/** The same forecast with the Python package, as a command or as a program. */

import { useSignal } from "@preact/signals";

import { CopyButton, Segmented } from "../../../src/components/controls";
import { t } from "../../../src/i18n";
import { snippet, type SnippetKind } from "../snippet";
import { result } from "../state/forecast";
import { text } from "../texts";

const KINDS: readonly SnippetKind[] = ["command", "python"];

export function Repeat() {
  const kind = useSignal<SnippetKind>("command");
  const shown = result.value;
  if (!shown) return null;
  const code = snippet(kind.value, shown);
  return (
    <section class="card wide" aria-labelledby="repeat-title" data-repeat>
      <div class="card-head">
        <h2 id="repeat-title">{text("repeat.title")}</h2>
        <CopyButton text={() => code} label={t("code.copy")} />
      </div>
      <Segmented
        label={text("repeat.title")}
        value={kind.value}
        options={KINDS.map((one) => [one, t(`code.${one}`)] as const)}
        onChange={(value) => (kind.value = value)}
      />
      <pre tabIndex={0} aria-label={t(`code.${kind.value}`)} role="group">
        <code>{code}</code>
      </pre>
      <p class="field-hint">{text("repeat.hint")}</p>
    </section>
  );
}
