/** Writes what the chart draws as SVG: the part of a canvas's drawing context that this chart uses. */

interface DrawingState {
  fillStyle: string;
  strokeStyle: string;
  globalAlpha: number;
  lineWidth: number;
  lineJoin: CanvasLineJoin;
  lineCap: CanvasLineCap;
  font: string;
  textAlign: "left" | "center" | "right";
  textBaseline: "alphabetic" | "middle";
  dashes: readonly number[];
}

const ANCHORS = { left: "start", center: "middle", right: "end" } as const;
/** Height of the middle of a text over its baseline, in sizes of the font. */
const MIDDLE = 0.35;
const FONT = /^(?:(\w+) )?([\d.]+)px (.+)$/;

export class SvgContext implements DrawingState {
  fillStyle = "#000";
  strokeStyle = "#000";
  globalAlpha = 1;
  lineWidth = 1;
  lineJoin: CanvasLineJoin = "miter";
  lineCap: CanvasLineCap = "butt";
  font = "10px sans-serif";
  textAlign: "left" | "center" | "right" = "left";
  textBaseline: "alphabetic" | "middle" = "alphabetic";
  dashes: readonly number[] = [];
  private readonly parts: string[] = [];
  private readonly states: DrawingState[] = [];
  private path = "";

  /** `measure` tells widths of texts: the context of any canvas. */
  constructor(private readonly measure: { font: string; measureText(text: string): TextMetrics }) {}

  /** Draws a part with coordinates of its own, which is cut off at its edges. */
  frame(x: number, y: number, width: number, height: number, draw: () => void): void {
    this.parts.push(`<svg ${attributes({ x, y, width, height, overflow: "hidden" })}>`);
    this.save();
    draw();
    this.restore();
    this.parts.push("</svg>");
  }

  /** The whole picture. */
  document(width: number, height: number, title: string): string {
    const root = { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height, role: "img" };
    return `<svg ${attributes(root)}><title>${escape(title)}</title>${this.parts.join("\n")}</svg>\n`;
  }

  save(): void {
    const { fillStyle, strokeStyle, globalAlpha, lineWidth, lineJoin, lineCap } = this;
    const { font, textAlign, textBaseline, dashes } = this;
    this.states.push({
      ...{ fillStyle, strokeStyle, globalAlpha, lineWidth, lineJoin, lineCap },
      ...{ font, textAlign, textBaseline, dashes },
    });
  }

  restore(): void {
    Object.assign(this, this.states.pop());
  }

  setLineDash(dashes: readonly number[]): void {
    this.dashes = dashes;
  }

  beginPath(): void {
    this.path = "";
  }

  moveTo(x: number, y: number): void {
    this.path += `M${short(x)} ${short(y)}`;
  }

  lineTo(x: number, y: number): void {
    this.path += `L${short(x)} ${short(y)}`;
  }

  closePath(): void {
    this.path += "Z";
  }

  rect(x: number, y: number, width: number, height: number): void {
    this.path += `M${short(x)} ${short(y)}h${short(width)}v${short(height)}h${short(-width)}Z`;
  }

  roundRect(x: number, y: number, width: number, height: number, radius: number): void {
    const across = short(width - 2 * radius);
    const down = short(height - 2 * radius);
    const corner = (dx: number, dy: number): string =>
      `a${short(radius)} ${short(radius)} 0 0 1 ${short(dx)} ${short(dy)}`;
    this.path +=
      `M${short(x + radius)} ${short(y)}h${across}${corner(radius, radius)}v${down}${corner(-radius, radius)}` +
      `h${-across}${corner(-radius, -radius)}v${-down}${corner(radius, -radius)}Z`;
  }

  fill(): void {
    if (this.path !== "") this.add("path", { d: this.path, ...this.filled() });
  }

  stroke(): void {
    if (this.path !== "") this.add("path", { d: this.path, fill: "none", ...this.stroked() });
  }

  fillRect(x: number, y: number, width: number, height: number): void {
    // A canvas takes negative sizes, SVG does not.
    const box = {
      x: Math.min(x, x + width),
      y: Math.min(y, y + height),
      width: Math.abs(width),
      height: Math.abs(height),
    };
    if (box.width > 0 && box.height > 0) this.add("rect", { ...box, ...this.filled() });
  }

  strokeRect(x: number, y: number, width: number, height: number): void {
    this.add("rect", { x, y, width, height, fill: "none", ...this.stroked() });
  }

  fillText(text: string, x: number, y: number): void {
    this.text(text, x, y, this.filled());
  }

  strokeText(text: string, x: number, y: number): void {
    this.text(text, x, y, { fill: "none", ...this.stroked() });
  }

  measureText(text: string): TextMetrics {
    this.measure.font = this.font;
    return this.measure.measureText(text);
  }

  private text(text: string, x: number, y: number, paint: Attributes): void {
    const [, weight, size, family] = FONT.exec(this.font)!;
    const baseline = this.textBaseline === "middle" ? y + MIDDLE * Number(size) : y;
    const place = { x, y: baseline, "text-anchor": this.textAlign === "left" ? undefined : ANCHORS[this.textAlign] };
    const font = { "font-family": family, "font-size": Number(size), "font-weight": weight };
    this.add("text", { ...place, ...font, ...paint }, text);
  }

  private filled(): Attributes {
    const { colour, opacity } = separate(this.fillStyle, this.globalAlpha);
    return { fill: colour, "fill-opacity": opacity };
  }

  private stroked(): Attributes {
    const { colour, opacity } = separate(this.strokeStyle, this.globalAlpha);
    return {
      stroke: colour,
      "stroke-opacity": opacity,
      "stroke-width": this.lineWidth,
      "stroke-linejoin": this.lineJoin === "miter" ? undefined : this.lineJoin,
      "stroke-linecap": this.lineCap === "butt" ? undefined : this.lineCap,
      "stroke-dasharray": this.dashes.length === 0 ? undefined : this.dashes.join(" "),
    };
  }

  private add(tag: string, values: Attributes, text?: string): void {
    this.parts.push(`<${tag} ${attributes(values)}${text === undefined ? "/>" : `>${escape(text)}</${tag}>`}`);
  }
}

type Attributes = Record<string, string | number | undefined>;

function attributes(values: Attributes): string {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}="${typeof value === "number" ? short(value) : escape(value!)}"`)
    .join(" ");
}

/** Colour and opacity apart: editors of vector graphics do not read rgba(). */
function separate(style: string, alpha: number): { colour: string; opacity: number | undefined } {
  const match = /^rgba\((.+), ?([\d.]+)\)$/.exec(style);
  const opacity = alpha * Number(match?.[2] ?? 1);
  return { colour: match === null ? style : `rgb(${match[1]})`, opacity: opacity === 1 ? undefined : opacity };
}

function short(value: number): number {
  return Math.round(value * 100) / 100;
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character]!);
}
