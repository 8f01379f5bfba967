/** What the whole page has to say: the server is away, a key is needed, the candles are old, they are simulated. */

import { useSignal } from "@preact/signals";

import { apiKey, keyNeeded } from "../api/client";
import { dateTime, duration } from "../formats";
import { t } from "../i18n";
import { data, readAgain, refreshCandles } from "../state/data";
import { ignored, reload } from "../state/page";
import { checkServer, goneSince, justBack } from "../state/server";
import { redUpNews } from "../state/settings";
import { staleness } from "../state/staleness";
import { formatTime } from "./ChartView";
import { KeyForm } from "./Header";

export function Banners() {
  const tried = useSignal(false);
  const since = goneSince.value;
  const connect = (): void => {
    tried.value = true;
    void reload().then(() => {
      if (data.value) void readAgain(data.value.file);
    });
  };
  return (
    <div class="banners">
      {since !== null && (
        <div class="note bad banner" role="alert" data-server="gone">
          <p>
            {t("server.gone", {
              time: dateTime(since / 1000, Intl.DateTimeFormat().resolvedOptions().timeZone).slice(11),
            })}{" "}
            {data.value && t("chart.as_of", { time: formatTime(data.value.candles.time.at(-1)!) })}
          </p>
          <button type="button" class="button small" onClick={() => void checkServer()}>
            {t("server.retry")}
          </button>
        </div>
      )}
      {justBack.value && (
        <div class="note good banner" role="status" data-server="back">
          <p>{t("server.back")}</p>
        </div>
      )}
      {keyNeeded.value && <KeyForm rejected={tried.value && apiKey.value !== ""} onConnect={connect} />}
      <StaleBanner />
      {ignored.value.length > 0 && (
        <div class="note notice banner" role="status" data-ignored>
          <p>{t("errors.address", { parts: ignored.value.join(" · ") })}</p>
          <button type="button" class="button small" onClick={() => (ignored.value = [])}>
            {t("errors.dismiss")}
          </button>
        </div>
      )}
      {redUpNews.value && (
        <div class="note notice banner" role="status" data-red-up>
          <p>{t("settings.red_up")}</p>
          <button type="button" class="button small" onClick={() => (redUpNews.value = false)}>
            {t("errors.dismiss")}
          </button>
        </div>
      )}
    </div>
  );
}

function StaleBanner() {
  const found = staleness.value;
  if (!found || found.level === "fresh") return null;
  const values = { age: duration(found.overdue) };
  return (
    <div class={`note banner ${found.level === "stale" ? "bad" : "notice"}`} role="status" data-stale={found.level}>
      <p>{t(found.level === "stale" ? "stale.stale" : "stale.late", values)}</p>
      <button type="button" class="button small" onClick={() => void refreshCandles()}>
        {t("stale.reload")}
      </button>
    </div>
  );
}
