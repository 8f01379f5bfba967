/** Exports: the picture as shown, and the files of the server. */

import { useSignal } from "@preact/signals";

import { asFailure, type Failure, requestFile } from "../api/client";
import { downloadStem, saveFile } from "../downloads";
import { t } from "../i18n";
import { data } from "../state/data";
import { selected, seriesName } from "../state/results";
import { copyText, Menu } from "./controls";
import { FailureNote } from "./FailureNote";
import { pngPicture, svgPicture } from "./picture";

const FORMATS = ["csv", "parquet", "json", "npz"] as const;
/** Pictures of the chart as shown: what they are called here, their suffix, and what draws them. */
const PICTURES = [
  ["shown", "png", pngPicture],
  ["shown-svg", "svg", svgPicture],
] as const;
const COPIED_MS = 1500;

export function ExportMenu() {
  const failure = useSignal<Failure | null>(null);
  /** The format that is being prepared, and whether the link has just been copied. */
  const busy = useSignal<string | null>(null);
  const copied = useSignal(false);
  const fromServer = async (format: string): Promise<void> => {
    const result = selected.value;
    if (busy.value) throw new Error("One export at a time.");
    if (!result) return;
    busy.value = format;
    try {
      failure.value = null;
      const id = encodeURIComponent(result.id);
      const { blob, name } = await requestFile(`api/results/${id}/export?format=${format}`);
      saveFile(blob, name);
    } catch (error) {
      failure.value = asFailure(error);
      throw error; // the menu stays open and says so
    } finally {
      busy.value = null;
    }
  };
  const copyLink = async (close: () => void): Promise<void> => {
    await copyText(location.href);
    copied.value = true;
    setTimeout(() => {
      copied.value = false;
      close();
    }, COPIED_MS);
  };
  return (
    <Menu label={t("exports.title")} class="right">
      {(close) => (
        <>
          <ul class="menu-list" data-exports>
            {PICTURES.map(([format, extension, draw]) => (
              <li key={format}>
                <button
                  type="button"
                  class="menu-item"
                  data-format={format}
                  onClick={() => void savePicture(draw, extension).then(close)}
                >
                  {t(`exports.${extension}`)}
                </button>
              </li>
            ))}
            <li>
              <button
                type="button"
                class="menu-item"
                data-format="png"
                aria-busy={busy.value === "png"}
                onClick={() => void fromServer("png").then(close, () => {})}
              >
                <span class={busy.value === "png" ? "busy" : ""}>{t("exports.figure")}</span>
              </button>
            </li>
            {FORMATS.map((format) => (
              <li key={format}>
                <button
                  type="button"
                  class="menu-item"
                  data-format={format}
                  aria-busy={busy.value === format}
                  onClick={() => void fromServer(format).then(close, () => {})}
                >
                  <span class={busy.value === format ? "busy" : ""}>{t(`exports.${format}`)}</span>
                </button>
              </li>
            ))}
            <li>
              <button type="button" class="menu-item" data-format="link" onClick={() => void copyLink(close)}>
                <span aria-live="polite">{t(copied.value ? "errors.copied" : "exports.link")}</span>
              </button>
            </li>
          </ul>
          {failure.value && <FailureNote failure={failure.value} />}
        </>
      )}
    </Menu>
  );
}

async function savePicture(draw: () => Promise<Blob | null>, extension: string): Promise<void> {
  const picture = await draw();
  if (picture) saveFile(picture, `${shownStem()}.${extension}`);
}

/** Name of a picture: by the selected forecast, or by the newest candle. */
function shownStem(): string {
  const result = selected.value?.document;
  if (result) return downloadStem(seriesName(result), result.forecast.interval, result.forecast.as_of);
  const loaded = data.value;
  return loaded
    ? downloadStem(loaded.info.symbol ?? loaded.name, loaded.info.timeframe, loaded.info.end_date)
    : "chart";
}
