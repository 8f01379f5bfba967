/** The page: steps at the side, chart and results in the middle. */

import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { t } from "../i18n";
import { data, dataFailure, readingName, uploadFile } from "../state/data";
import { job, picking, runForecast } from "../state/forecast";
import { loadingModel } from "../state/models";
import { afterNewData, chartCandles, pageState, simulated, started } from "../state/page";
import { opening, selected, selectedId } from "../state/results";
import { staleness } from "../state/staleness";
import { Banners } from "./Banners";
import { ChartToolbar } from "./ChartToolbar";
import { ChartView } from "./ChartView";
import { CodePanel } from "./CodePanel";
import { CompareTable } from "./CompareTable";
import { DataPanel } from "./DataPanel";
import { DataTable } from "./DataTable";
import { ForecastPanel, RunBar } from "./ForecastPanel";
import { Header } from "./Header";
import { Help } from "./Help";
import { Legend } from "./Legend";
import { ModelPanel } from "./ModelPanel";
import { ProbabilityPanel } from "./ProbabilityPanel";
import { ReplayTable } from "./ReplayTable";
import { Figures, ResultList, ResultNotes } from "./ResultPanel";
import { SavedResults } from "./SavedResults";

/** Until the panels above have folded, and a new result has its place. */
const SETTLE_MS = 50;

const small = matchMedia("(max-width: 899px)");
const help = signal(false);
const table = signal(false);
const dataOpen = signal(true);
const modelOpen = signal(!small.matches);
const forecastOpen = signal(true);

export function App() {
  useEffect(watchPage, []);
  return (
    <>
      <Header help={help} />
      <div class="layout">
        <aside class="steps" aria-label={t("page.steps")}>
          <div class="steps-scroll">
            <DataPanel open={dataOpen} />
            <ModelPanel open={modelOpen} />
            <ForecastPanel open={forecastOpen} />
          </div>
          <RunBar />
        </aside>
        <main id="main" class="main" aria-label={t("page.main")} tabIndex={-1}>
          <Banners />
          <Workspace />
        </main>
      </div>
      <footer class="footer">
        <p>{t("page.advice")}</p>
        <p>
          <a href="docs">{t("page.api")}</a> ·{" "}
          <a href="https://www.tradingview.com/" target="_blank" rel="noreferrer">
            {t("page.notice")}
          </a>
        </p>
      </footer>
      <Help open={help} />
    </>
  );
}

function Workspace() {
  const hasCandles = chartCandles.value !== null;
  const loading = !hasCandles && (readingName.value !== null || opening.value > 0);
  const busy = readingName.value !== null || job.value !== null;
  if (!hasCandles && !selected.value)
    return (
      <>
        {loading ? <Skeleton /> : <Welcome />}
        <div class="cards">
          <SavedResults />
        </div>
      </>
    );
  return (
    <>
      <Figures />
      {hasCandles && (
        <section
          class={`chart-card ${staleness.value?.level === "stale" ? "stale" : ""} ${simulated.value ? "simulated" : ""}`}
          aria-busy={busy}
          aria-label={t("chart.label")}
        >
          <ChartToolbar table={table} />
          <div class="chart-frame">
            <Legend />
            <ChartView />
          </div>
          <ResultList />
        </section>
      )}
      <div class="cards">
        <DataTable visible={table} />
        <ReplayTable />
        <CompareTable />
        <ProbabilityPanel />
        <ResultNotes />
        <CodePanel />
        <SavedResults />
      </div>
    </>
  );
}

function Skeleton() {
  return (
    <div class="chart-card skeleton" role="status" aria-label={t("chart.loading")} data-skeleton>
      {Array.from({ length: 36 }, (_, index) => (
        <span key={index} style={{ height: `${52 + 24 * Math.sin(index / 4) + 10 * Math.sin(index * 1.7)}%` }} />
      ))}
    </div>
  );
}

function Welcome() {
  return (
    <section class="card welcome" aria-labelledby="welcome-title">
      <h2 id="welcome-title">{t("chart.empty_title")}</h2>
      <p>{t("chart.empty_text")}</p>
      <ol>
        <li>{t("chart.empty_steps.data")}</li>
        <li>{t("chart.empty_steps.model")}</li>
        <li>{t("chart.empty_steps.forecast")}</li>
      </ol>
    </section>
  );
}

function isTyping(event: KeyboardEvent): boolean {
  return (
    event.target instanceof HTMLElement &&
    event.target.matches("input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea")
  );
}

function onKeyDown(event: KeyboardEvent): void {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    void runForecast();
  } else if (event.key === "?" && !isTyping(event)) {
    event.preventDefault();
    help.value = true;
  } else if (event.key === "Escape") {
    picking.value = false;
  } else if (event.key === "t" && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event)) {
    document.querySelector<HTMLElement>(".toolbar .segmented input:checked")?.focus();
  }
}

/** A file may be dropped anywhere: a browser would otherwise leave the page for it. */
function onDrop(event: DragEvent): void {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (file) void uploadFile(file).then((read) => read && afterNewData());
}

/** Keys, dropped files, and the page's state as attributes of the root, for styles and tests. */
function watchPage(): () => void {
  const allow = (event: DragEvent): void => event.preventDefault();
  addEventListener("keydown", onKeyDown);
  addEventListener("dragover", allow);
  addEventListener("drop", onDrop);
  const ends = [
    effect(() => {
      const { dataset } = document.documentElement;
      dataset["state"] = pageState.value;
      dataset["ready"] = String(
        started.value && readingName.value === null && !opening.value && !job.value && !loadingModel.value,
      );
    }),
    effect(() => {
      if (small.matches && data.value && !dataFailure.value) dataOpen.value = false;
      if (dataFailure.value) dataOpen.value = true;
    }),
    effect(() => {
      if (small.matches && selectedId.value)
        setTimeout(() => document.querySelector(".figures")?.scrollIntoView({ block: "start" }), SETTLE_MS);
    }),
  ];
  return () => {
    removeEventListener("keydown", onKeyDown);
    removeEventListener("dragover", allow);
    removeEventListener("drop", onDrop);
    ends.forEach((end) => end());
  };
}
