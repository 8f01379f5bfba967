"""Draw the logo and the architecture overview in docs/figures as SVG files that adapt to light and dark pages.

python scripts/make_diagrams.py
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"

STYLE = """
  .ink { fill: #1c2733; } .line { stroke: #1c2733; }
  .muted { fill: #5b6875; } .rule { stroke: #9aa7b4; }
  .panel { fill: #f4f7fa; stroke: #c6d0da; } .accent { fill: #2a6fdb; }
  .panel2 { fill: #e6effc; stroke: #8fb4ee; }
  .up { fill: #1f9d78; stroke: #1f9d78; } .down { fill: #d1495b; stroke: #d1495b; }
  .band { fill: #2a6fdb; } .path { stroke: #2a6fdb; fill: none; }
  @media (prefers-color-scheme: dark) {
    .ink { fill: #e8eef4; } .line { stroke: #e8eef4; }
    .muted { fill: #a3b1bf; } .rule { stroke: #6c7a88; }
    .panel { fill: #1d2733; stroke: #3c4a58; } .accent { fill: #7fb0ff; }
    .panel2 { fill: #1f3352; stroke: #4a76b8; }
    .up { fill: #3cc79c; stroke: #3cc79c; } .down { fill: #f0788a; stroke: #f0788a; }
    .band { fill: #7fb0ff; } .path { stroke: #7fb0ff; }
  }
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
"""


def svg(width: int, height: int, title: str, body: list[str]) -> str:
    """Wrap elements in an SVG document with the shared style."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def candle(x: float, low: float, high: float, opened: float, closed: float, width: float = 12) -> str:
    """Draw a candlestick; y coordinates grow downwards, so a rising candle has ``closed < opened``."""
    kind = "up" if closed < opened else "down"
    top, bottom = min(opened, closed), max(opened, closed)
    return (
        f'<line class="{kind}" x1="{x}" y1="{high}" x2="{x}" y2="{low}" stroke-width="2.5" stroke-linecap="round"/>'
        f'<rect class="{kind}" x="{x - width / 2}" y="{top}" width="{width}" height="{bottom - top}" rx="2.5"/>'
    )


def logo() -> str:
    """Three candles, and the fan of what may come next, before the name."""
    body = [
        candle(22, 84, 48, 78, 56),
        candle(44, 76, 38, 58, 68),
        candle(66, 70, 28, 64, 40),
        '<path class="band" opacity="0.18" d="M78 44 C96 40 104 22 122 12 L122 88 C104 74 96 52 78 44 Z"/>',
        '<path class="band" opacity="0.30" d="M78 44 C96 42 104 32 122 27 L122 70 C104 60 96 48 78 44 Z"/>',
        '<path class="path" stroke-width="3" stroke-linecap="round" d="M78 44 C94 43 104 50 122 44"/>',
        '<text class="ink" x="144" y="66" font-size="54" font-weight="650" textLength="216" '
        'lengthAdjust="spacingAndGlyphs">Kronos</text>',
    ]
    return svg(372, 100, "Kronos", body)


def box(x: float, y: float, width: float, height: float, title: str, lines: list[str], panel: str = "panel") -> str:
    """Draw a rounded box with a title and lines of small text."""
    middle = x + width / 2
    parts = [f'<rect class="{panel}" x="{x}" y="{y}" width="{width}" height="{height}" rx="10" stroke-width="1.5"/>']
    parts.append(
        f'<text class="ink" x="{middle}" y="{y + 27}" font-size="16" font-weight="650" text-anchor="middle">'
        f"{escape(title)}</text>"
    )
    parts += [
        f'<text class="muted" x="{middle}" y="{y + 50 + 19 * number}" font-size="13" text-anchor="middle">'
        f"{escape(line)}</text>"
        for number, line in enumerate(lines)
    ]
    return "".join(parts)


def arrow(x1: float, y1: float, x2: float, y2: float, label: str = "") -> str:
    """Draw an arrow, with a label above its middle."""
    text = ""
    if label:
        text = (
            f'<text class="muted" x="{(x1 + x2) / 2}" y="{min(y1, y2) - 8}" font-size="12" text-anchor="middle">'
            f"{escape(label)}</text>"
        )
    return (
        f'<line class="rule" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke-width="2" marker-end="url(#head)"/>{text}'
    )


def architecture() -> str:
    """The way from candles to a forecast, and the interfaces above it."""
    head = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="muted" d="M0 0 L10 5 L0 10 z"/></marker></defs>'
    )
    body = [head]
    top = 24
    body += [
        box(20, top, 190, 112, "Candles", ["files, exchanges, Qlib", "cleaning with findings", "trading calendars"]),
        arrow(212, top + 56, 246, top + 56),
        box(250, top, 190, 112, "Tokenizer", ["normalise the window", "encode six channels", "two tokens per candle"]),
        arrow(442, top + 56, 476, top + 56),
        box(
            480, top, 220, 112, "Transformer",
            ["prefill the history once", "paths share its KV cache", "same seed, same path"], "panel2",
        ),
        arrow(702, top + 56, 736, top + 56),
        box(740, top, 190, 112, "Forecast", ["every sample path", "valid OHLCV candles", "bands and probabilities"]),
    ]  # fmt: skip
    middle = top + 160
    body += [
        arrow(835, top + 114, 835, middle - 4),
        box(740, middle, 190, 92, "Calibration", ["corrects whole paths", "off unless requested"]),
        box(480, middle, 220, 92, "Evaluation", ["rolling origins, baselines", "intervals and verdicts"]),
        box(250, middle, 190, 92, "Training", ["splits with embargo", "resume bit for bit"]),
        box(20, middle, 190, 92, "Datasets", ["quality filters", "memory-mapped store"]),
        arrow(736, middle + 46, 704, middle + 46),
        arrow(212, middle + 46, 246, middle + 46),
        arrow(345, middle - 4, 345, top + 116),
        arrow(115, top + 114, 115, middle - 4),
    ]
    low = middle + 124
    body.append(f'<rect class="panel" x="20" y="{low}" width="910" height="56" rx="10" stroke-width="1.5"/>')
    for number, name in enumerate(("Python API", "kronos command line", "HTTP API", "TradingView UDF", "MCP server")):
        body.append(
            f'<text class="ink" x="{111 + 182 * number}" y="{low + 34}" font-size="15" font-weight="600" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
    return svg(950, low + 76, "Architecture of Kronos", body)


if __name__ == "__main__":
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name, text in (("logo", logo()), ("architecture", architecture())):
        (FIGURES / f"{name}.svg").write_text(text, "utf-8")
        print(f"docs/figures/{name}.svg")
