/** The window as a strip: history, what the model sees of it, and the horizon. Its edges are sliders. */

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";

import { candleTime } from "../formats";
import { t } from "../i18n";
import { data, seconds, zone } from "../state/data";
import { clamp, type ForecastWindow, originIsFree, setOrigin, setParameters } from "../state/forecast";
import { RANGES } from "../state/url";

const PARTS = ["history", "seen", "horizon"] as const;
const FAST_STEP = 10;

/** Candles that the strip covers: the window, with room on both sides to drag its edges. */
interface StripRange {
  from: number;
  to: number;
}

type Edge = "first" | "last" | "end";

/** Room is half of the history before the window, and once the horizon after it. */
export function stripRange(window: ForecastWindow): StripRange {
  const from = Math.max(0, window.first - Math.ceil(window.lookback / 2));
  return { from, to: window.last + 1 + 2 * window.horizon };
}

export function WindowStrip({ window }: { window: ForecastWindow }) {
  const strip = useRef<HTMLDivElement>(null);
  /** While an edge is dragged the strip keeps its scale, so that the edge stays under the pointer. */
  const held = useSignal<StripRange | null>(null);
  const range = held.value ?? stripRange(window);
  const total = range.to - range.from;
  const loaded = data.value!.candles.time.length;
  const place = (from: number, to: number): { left: string; width: string } => {
    const left = Math.max(range.from, Math.min(range.to, from));
    return {
      left: percent(left - range.from, total),
      width: percent(Math.max(0, Math.min(range.to, to) - left), total),
    };
  };
  const seenFrom = Math.max(window.first, window.last + 1 - window.seen);
  const drag = (event: PointerEvent, edge: Edge): void => {
    const target = event.currentTarget as HTMLElement;
    const start = { x: event.clientX, position: positions(window)[edge] };
    const width = strip.current!.getBoundingClientRect().width;
    target.setPointerCapture(event.pointerId);
    held.value = range;
    const move = ({ clientX }: PointerEvent): void =>
      moveEdge(edge, Math.round(start.position + ((clientX - start.x) / width) * total), window);
    const end = (): void => {
      target.removeEventListener("pointermove", move);
      target.removeEventListener("lostpointercapture", end);
      held.value = null;
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("lostpointercapture", end);
  };
  const free = originIsFree.value;
  return (
    <>
      <div class="strip" ref={strip} role="group" aria-label={t("forecast.strip")} data-strip>
        <span class="strip-known" style={place(range.from, loaded)} />
        <span
          class={`strip-history ${free ? "strip-body" : ""}`}
          style={place(window.first, window.last + 1)}
          onPointerDown={(event) => free && drag(event, "last")}
        />
        <span class="strip-seen" style={place(seenFrom, window.last + 1)} />
        <span class="strip-horizon" style={place(window.last + 1, window.last + 1 + window.horizon)} />
        {(["first", "last", "end"] as const)
          .filter((edge) => edge !== "last" || free)
          .map((edge) => (
            <Handle
              key={edge}
              edge={edge}
              window={window}
              left={percent(positions(window)[edge] + (edge === "first" ? 0 : 1) - range.from, total)}
              onDrag={(event) => drag(event, edge)}
            />
          ))}
      </div>
      <p class="strip-key" aria-hidden="true">
        {PARTS.filter((part) => part !== "history" || window.seen < window.lookback).map((part) => (
          <span key={part}>
            <i class={`strip-${part}`} />
            {t(`forecast.part.${part}`)}
          </span>
        ))}
      </p>
    </>
  );
}

interface HandleProps {
  edge: Edge;
  window: ForecastWindow;
  left: string;
  onDrag: (event: PointerEvent) => void;
}

function Handle({ edge, window, left, onDrag }: HandleProps) {
  const position = positions(window)[edge];
  const { min, max } = limits(edge, window);
  const onKeyDown = (event: KeyboardEvent): void => {
    const next = target(event, position, min, max);
    if (next === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moveEdge(edge, next, window);
  };
  return (
    <span
      class={`strip-handle strip-${edge}`}
      style={{ left }}
      role="slider"
      tabIndex={0}
      aria-label={t(`forecast.edge.${edge}`)}
      aria-valuemin={min}
      aria-valuemax={max}
      aria-valuenow={position}
      aria-valuetext={describe(edge, window)}
      title={describe(edge, window)}
      data-edge={edge}
      onKeyDown={onKeyDown}
      onPointerDown={onDrag}
    />
  );
}

/** Positions of the edges among the candles; the end of the horizon may lie beyond the last of them. */
function positions(window: ForecastWindow): Record<Edge, number> {
  return { first: window.last + 1 - window.lookback, last: window.last, end: window.last + window.horizon };
}

/** Where an edge may go. The first candle may be one that is not loaded yet, at a negative position. */
function limits(edge: Edge, { last }: ForecastWindow): { min: number; max: number } {
  const { candles, offset } = data.value!;
  if (edge === "last") return { min: Math.min(1, candles.time.length - 2), max: Math.max(1, candles.time.length - 2) };
  if (edge === "end") return { min: last + RANGES.horizon.min, max: last + RANGES.horizon.max };
  return { min: Math.max(-offset, last + 1 - RANGES.lookback.max), max: last + 1 - RANGES.lookback.min };
}

function moveEdge(edge: Edge, to: number, window: ForecastWindow): void {
  const { min, max } = limits(edge, window);
  const position = Math.max(min, Math.min(max, to));
  if (edge === "last") setOrigin(data.value!.candles.time[position]!);
  else if (edge === "end") setParameters({ horizon: clamp("horizon", position - window.last) });
  else setParameters({ lookback: clamp("lookback", window.last + 1 - position) });
}

/** Where a key moves an edge: as other sliders do, arrows by one, Page and Shift by ten, Home and End to the limits. */
function target(event: KeyboardEvent, position: number, min: number, max: number): number | null {
  const step = event.shiftKey ? FAST_STEP : 1;
  switch (event.key) {
    case "ArrowLeft":
    case "ArrowDown":
      return position - step;
    case "ArrowRight":
    case "ArrowUp":
      return position + step;
    case "PageDown":
      return position - FAST_STEP;
    case "PageUp":
      return position + FAST_STEP;
    case "Home":
      return min;
    case "End":
      return max;
    default:
      return null;
  }
}

function describe(edge: Edge, window: ForecastWindow): string {
  if (edge === "first") return t("forecast.edge_history", { count: window.lookback });
  if (edge === "end") return t("forecast.edge_horizon", { count: window.horizon });
  return candleTime(data.value!.candles.time[window.last]!, zone.value, seconds.value);
}

function percent(part: number, total: number): string {
  return `${(100 * part) / total}%`;
}
