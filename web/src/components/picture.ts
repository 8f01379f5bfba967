/** Pictures of the chart as shown, with a header that explains them: PNG, and SVG for print and editors. */

import { t } from "../i18n";
import { data } from "../state/data";
import { ownInterval, resampled, shownInterval } from "../state/intervals";
import { simulated } from "../state/page";
import { LEAST_PATHS } from "../quantiles";
import { dash, drawn, hue, label, seriesName } from "../state/results";
import { colours } from "../state/settings";
import { chart, formatOrigin } from "./ChartView";

const LINE = 22;
const MARGIN = 12;
const SWATCH = 26;
const FONT = "system-ui, sans-serif";

export async function pngPicture(): Promise<Blob | null> {
  const picture = chart.value?.screenshot();
  if (!picture) return null;
  const ratio = window.devicePixelRatio || 1;
  const header = headerHeight() * ratio;
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height + header;
  const context = canvas.getContext("2d")!;
  context.fillStyle = colours.value["ground"]!;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, header);
  context.scale(ratio, ratio);
  drawHeader(context);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

export async function svgPicture(): Promise<Blob | null> {
  const scene = chart.value?.scene();
  if (!scene) return null;
  const { SvgContext, paintChart } = await import("../chart/vector_picture");
  const context = new SvgContext(document.createElement("canvas").getContext("2d")!);
  const header = headerHeight();
  const height = header + scene.height + LINE;
  context.fillStyle = colours.value["ground"]!;
  context.fillRect(0, 0, scene.width, height);
  drawHeader(context as unknown as CanvasRenderingContext2D);
  context.frame(0, header, scene.width, scene.height, () => paintChart(context, scene));
  context.fillStyle = colours.value["muted"]!;
  context.font = `10px ${FONT}`;
  context.fillText(t("page.notice"), MARGIN, height - 7);
  return new Blob([context.document(scene.width, height, title())], { type: "image/svg+xml" });
}

function headerHeight(): number {
  return LINE * (drawn.value.length + 1) + 8;
}

function title(): string {
  const first = drawn.value[0];
  const name = first ? seriesName(first.document) : (data.value?.info.symbol ?? data.value?.name ?? "");
  const warning = simulated.value ? ` · ${t("page.simulated")}` : "";
  return `${name} · ${shownInterval.value}${warning} · ${t("page.advice")}`;
}

/** Title, and a line for each forecast: model, as-of time, bands and paths. */
function drawHeader(context: CanvasRenderingContext2D): void {
  context.textBaseline = "alphabetic";
  context.textAlign = "left";
  context.font = `600 13px ${FONT}`;
  context.fillStyle = colours.value["text"]!;
  context.fillText(title(), MARGIN, 18);
  context.font = `12px ${FONT}`;
  drawn.value.forEach((result, index) => {
    const y = LINE * (index + 1) + 18;
    const { document } = result;
    const { samples } = document.forecast;
    if (!resampled.value) {
      context.strokeStyle = hue(result.slot);
      context.lineWidth = 3;
      context.setLineDash(dash(result.slot));
      context.beginPath();
      context.moveTo(MARGIN, y - 4);
      context.lineTo(MARGIN + SWATCH, y - 4);
      context.stroke();
      context.setLineDash([]);
    }
    const parts = [
      label(document),
      t("result.as_of", { time: formatOrigin(document) }),
      ...(samples >= LEAST_PATHS && !resampled.value ? [t("chart.bands")] : []),
      t(samples === 1 ? "result.paths.one" : "result.paths.other", { count: samples }),
      ...(resampled.value ? [t("chart.resampled", { interval: ownInterval.value })] : []),
    ];
    context.fillText(parts.join(" · "), resampled.value ? MARGIN : MARGIN + SWATCH + 8, y);
  });
}
