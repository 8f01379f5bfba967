/** The page: file and settings at the side, the forecast in the middle. */

import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { t } from "../../../src/i18n";
import { file, readFailure, readingName, simulated } from "../state/file";
import { forecastFailure, progress, result } from "../state/forecast";
import { model, modelFailure } from "../state/model";
import { offline } from "../state/offline";
import { text } from "../texts";
import { FilePanel, openDropped } from "./FilePanel";
import { Findings } from "./Findings";
import { ForecastCard } from "./ForecastCard";
import { Header } from "./Header";
import { Limits } from "./Limits";
import { Notices } from "./Notices";
import { QuantileCard } from "./QuantileCard";
import { Repeat } from "./Repeat";
import { RunBar, SettingsPanel } from "./SettingsPanel";
import { Summary } from "./Summary";

/** Until the panels above have folded, and the result has its place. */
const SETTLE_MS = 50;

const small = matchMedia("(max-width: 899px)");
const fileOpen = signal(true);
const settingsOpen = signal(true);

export function App() {
  useEffect(watchPage, []);
  return (
    <>
      <Header />
      <div class="layout">
        <aside class="steps" aria-label={text("page.steps")}>
          <div class="steps-scroll">
            <FilePanel open={fileOpen} />
            <SettingsPanel open={settingsOpen} />
          </div>
          <RunBar />
        </aside>
        <main id="main" class="main" aria-label={t("page.main")} tabIndex={-1}>
          <Notices />
          {file.value ? <Workspace /> : <Introduction />}
        </main>
      </div>
      <footer class="footer">
        <p>{t("page.advice")}</p>
        <p>
          <a href="https://www.tradingview.com/" target="_blank" rel="noreferrer">
            {t("page.notice")}
          </a>
        </p>
      </footer>
    </>
  );
}

function Workspace() {
  return (
    <>
      {simulated.value && (
        <p class="note notice" data-simulated-note>
          {text("summary.simulated")}
        </p>
      )}
      <Summary />
      <ForecastCard />
      <div class="cards">
        <QuantileCard />
        <Findings />
        <Limits />
        <Repeat />
      </div>
    </>
  );
}

function Introduction() {
  return (
    <>
      <section class="card welcome" aria-labelledby="intro-title">
        <h2 id="intro-title">{text("page.intro_title")}</h2>
        <p>{text("page.intro")}</p>
        <ol>
          {(["drop", "read", "repeat"] as const).map((step) => (
            <li key={step}>{text(`page.intro_steps.${step}`)}</li>
          ))}
        </ol>
      </section>
      <div class="cards">
        <Limits />
      </div>
    </>
  );
}

/** A file may be dropped anywhere: a browser would otherwise leave the page for it. */
function onDrop(event: DragEvent): void {
  event.preventDefault();
  if (event.dataTransfer) openDropped(event.dataTransfer);
}

/** What the page shows, as attributes of its root for tests. */
function pageState(): string {
  if (readFailure.value || forecastFailure.value || modelFailure.value) return "error";
  if (result.value) return "forecast";
  return file.value ? "file" : "empty";
}

function watchPage(): () => void {
  const allow = (event: DragEvent): void => event.preventDefault();
  addEventListener("dragover", allow);
  addEventListener("drop", onDrop);
  const show = effect(() => {
    if (readFailure.value) fileOpen.value = true;
    if (forecastFailure.value) settingsOpen.value = true;
    if (!small.matches) return;
    const shown = result.value !== null;
    fileOpen.value = !shown;
    settingsOpen.value = !shown;
    if (shown)
      setTimeout(() => document.querySelector("[data-summary]")?.scrollIntoView({ block: "start" }), SETTLE_MS);
  });
  const end = effect(() => {
    const { dataset } = document.documentElement;
    dataset["state"] = pageState();
    dataset["ready"] = String(readingName.value === null && progress.value === null);
    dataset["model"] = model.value ? "ready" : modelFailure.value ? "failed" : "loading";
    dataset["offline"] = offline.value;
  });
  return () => {
    removeEventListener("dragover", allow);
    removeEventListener("drop", onDrop);
    show();
    end();
  };
}
