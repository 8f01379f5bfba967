/** The name of the time zone in the corner of the axes. */

import type { IChartApiBase, Time } from "lightweight-charts";
import { zonePlace } from "./time_scale";

const SIZE = 11;

export class ZoneLabel {
  private readonly element = document.createElement("div");

  constructor(
    private readonly chart: IChartApiBase<Time>,
    container: HTMLElement,
  ) {
    this.element.className = "chart-zone";
    container.append(this.element);
  }

  get text(): string {
    return this.element.textContent;
  }

  /** `name` stands for the zone where the candles state none. */
  setZone(zone: string, name: string | undefined): void {
    this.element.textContent = name ?? zonePlace(zone);
    this.element.title = name ?? zone;
  }

  /** Fills the corner, whose size follows from the labels of the axes. */
  resize(): void {
    const { width, height } = this.corner();
    const { style } = this.element;
    if (style.width !== `${width}px`) style.width = `${width}px`;
    if (style.height !== `${height}px`) style.height = `${height}px`;
  }

  /** Draws the label into the corner of a picture of the chart. */
  draw(context: CanvasRenderingContext2D, ratio: number, colour: string, font: string): void {
    const { width, height } = this.corner();
    context.font = `${SIZE * ratio}px ${font}`;
    context.fillStyle = colour;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const { canvas } = context;
    context.fillText(
      this.text,
      canvas.width - (width * ratio) / 2,
      canvas.height - (height * ratio) / 2,
      width * ratio,
    );
  }

  remove(): void {
    this.element.remove();
  }

  private corner(): { width: number; height: number } {
    return { width: this.chart.priceScale("right").width(), height: this.chart.timeScale().height() };
  }
}
