/** Keyboard and screen-reader access to the chart, whose canvas says nothing by itself. */

/** What the layer lets the keyboard do. */
export interface ChartCommands {
  /** Moves the crosshair by a number of candles. */
  step(candles: number): void;
  /** Moves the crosshair to the first or last candle. */
  jump(end: "first" | "last"): void;
  /** Zooms around the crosshair, or the middle: factors above 1 show fewer candles. */
  zoom(factor: number): void;
  /** Picks the bar under the crosshair. */
  pick(): void;
  /** Takes the crosshair away. */
  leave(): void;
}

const FAST_STEP = 10;
const ZOOM = 1.25;
/** Milliseconds that the crosshair must rest before it is spoken: held keys would fill the speech queue otherwise. */
const SPEECH_DELAY = 200;

let layers = 0;

/**
 * A focusable layer over the chart that takes keys and leaves the mouse to the canvas below, and a live region that
 * speaks. The layer has the role of an application, so that screen readers pass the arrow keys on.
 */
export class AccessibilityLayer {
  private readonly layer = document.createElement("div");
  private readonly help = document.createElement("div");
  private readonly speech = document.createElement("div");
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly container: HTMLElement,
    private readonly commands: ChartCommands,
  ) {
    this.layer.className = "chart-keyboard";
    this.layer.tabIndex = 0;
    this.layer.setAttribute("role", "application");
    this.help.className = "chart-hidden";
    this.help.id = `chart-help-${++layers}`;
    this.layer.setAttribute("aria-describedby", this.help.id);
    this.speech.className = "chart-hidden";
    this.speech.setAttribute("aria-live", "polite");
    this.speech.setAttribute("aria-atomic", "true");
    this.layer.addEventListener("keydown", this.onKey);
    this.layer.addEventListener("blur", this.onBlur);
    container.addEventListener("click", this.onClick);
    container.append(this.layer, this.help, this.speech);
  }

  setTexts(label: string, help: string): void {
    this.layer.setAttribute("aria-label", label);
    this.help.textContent = help;
  }

  /** Speaks once the crosshair rests. */
  speak(text: string): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.speech.textContent = text;
    }, SPEECH_DELAY);
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.container.removeEventListener("click", this.onClick);
    this.layer.remove();
    this.help.remove();
    this.speech.remove();
  }

  private readonly onKey = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const command = this.command(event);
    if (command === null) return;
    command();
    event.preventDefault();
  };

  private command(event: KeyboardEvent): (() => void) | null {
    const { commands } = this;
    const step = event.shiftKey ? FAST_STEP : 1;
    switch (event.key) {
      case "ArrowLeft":
        return () => commands.step(-step);
      case "ArrowRight":
        return () => commands.step(step);
      case "PageUp":
        return () => commands.step(-FAST_STEP);
      case "PageDown":
        return () => commands.step(FAST_STEP);
      case "Home":
        return () => commands.jump("first");
      case "End":
        return () => commands.jump("last");
      case "+":
      case "=":
        return () => commands.zoom(ZOOM);
      case "-":
      case "_":
        return () => commands.zoom(1 / ZOOM);
      case "Enter":
        return () => commands.pick();
      case "Escape":
        return () => commands.leave();
      default:
        return null;
    }
  }

  /** The library takes the focus away at every press of the mouse: only a move of the focus elsewhere counts. */
  private readonly onBlur = (event: FocusEvent): void => {
    if (event.relatedTarget === null) return;
    clearTimeout(this.timer);
    this.commands.leave();
  };

  /** A click on the chart focuses it, so that the keys go on from the mouse. */
  private readonly onClick = (): void => {
    this.layer.focus({ preventScroll: true });
  };
}
