"""Colours and fonts of figures: two themes and three palettes.

The colours of rising and falling candles are those of TradingView and FreqUI; the colour-blind pair is Wong's blue and
orange as in seaborn. Contrast with the background is at least 4.5 : 1 for text and 3 : 1 for lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from matplotlib import font_manager

from kronos.errors import ParameterError

Theme = Literal["light", "dark"]
Palette = Literal["green-up", "red-up", "colour-blind"]

_GREEN, _RED = "#26a69a", "#ef5350"
_SANS = ("Inter", "Noto Sans", "Helvetica Neue", "Segoe UI", "Arial", "Liberation Sans")
_CJK = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Noto Sans CJK JP",
    "Arial Unicode MS", "Droid Sans Fallback",
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """Colours and fonts of a figure.

    Attributes:
        ground: Background colour.
        grid: Grid lines and frames.
        text: Titles and tags.
        muted: Axis labels, subtitle, footnote, the last-price line.
        up: Rising candles, their volume and every rise.
        down: Falling candles, their volume and every fall.
        forecast: Bands, median and path of a forecast.
        warning: Background of the label of simulated data.
        hollow_up: Whether rising candles are hollow, to show direction without colour.
        fonts: Font families, in order of preference.
    """

    ground: str
    grid: str
    text: str
    muted: str
    up: str
    down: str
    forecast: str
    warning: str
    hollow_up: bool
    fonts: tuple[str, ...]

    def font(self, size: float, color: str | None = None, *, bold: bool = False) -> dict[str, Any]:
        """Return arguments for matplotlib's text functions."""
        return {
            "family": list(self.fonts),
            "size": size,
            "color": color or self.text,
            "weight": "bold" if bold else "normal",
        }


_THEMES: dict[str, dict[str, str]] = {
    "light": {
        "ground": "#ffffff", "grid": "#e8eaf0", "text": "#131722", "muted": "#5d6472", "warning": "#f2b134",
    },
    "dark": {
        "ground": "#131722", "grid": "#242938", "text": "#e3e6ee", "muted": "#98a0b0", "warning": "#f2b134",
    },
}  # fmt: skip
_FORECAST = {
    ("light", False): "#5746d8",
    ("dark", False): "#9d92ff",
    ("light", True): "#a23b8c",  # red-green colour-blind people see violet as blue
    ("dark", True): "#de8fd0",
}


def make_style(theme: Theme, palette: Palette) -> Style:
    """Return the style of a theme and a palette.

    Raises:
        ParameterError: If either is unknown.
    """
    if theme not in get_args(Theme):
        raise ParameterError(f"Unknown theme '{theme}': choose {', '.join(get_args(Theme))}.")
    if palette not in get_args(Palette):
        raise ParameterError(f"Unknown palette '{palette}': choose {', '.join(get_args(Palette))}.")
    pairs = {"green-up": (_GREEN, _RED), "red-up": (_RED, _GREEN), "colour-blind": ("#0173b2", "#de8f05")}
    up, down = pairs[palette]
    colour_blind = palette == "colour-blind"
    if colour_blind and theme == "dark":
        up = "#3fa9e8"  # a lighter tone of the blue, for contrast
    return Style(
        **_THEMES[theme],
        up=up,
        down=down,
        forecast=_FORECAST[theme, colour_blind],
        hollow_up=colour_blind,
        fonts=_installed_fonts(),
    )


_HUES = {
    ("light", False): ("#5746d8", "#b4540a", "#00796b", "#7a5c00", "#a02c6d", "#3d6b21"),
    ("dark", False): ("#9d92ff", "#f0a35e", "#4fd0bd", "#dcc05a", "#ef8fc2", "#a3d977"),
    ("light", True): ("#a23b8c", "#9a5b00", "#0173b2", "#55606e", "#7a5c00", "#00695c"),
    ("dark", True): ("#de8fd0", "#e3a547", "#56b4e9", "#a9b4c4", "#dcc05a", "#5fc9b5"),
}


def hues(theme: Theme, palette: Palette) -> tuple[str, ...]:
    """Return the colours of forecasters in one figure; the first is that of forecasts.

    Contrast with the background is at least 3 : 1; figures distinguish forecasters by shape too.

    Raises:
        ParameterError: If either is unknown.
    """
    make_style(theme, palette)
    return _HUES[theme, palette == "colour-blind"]


@cache
def _installed_fonts() -> tuple[str, ...]:
    """Return the installed fonts of the lists; matplotlib warns about others."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    sans = [name for name in _SANS if name in installed][:1]
    return (*sans, "DejaVu Sans", *(name for name in _CJK if name in installed))


@cache
def _glyphs(fonts: tuple[str, ...]) -> frozenset[int]:
    """Return the code points that the fonts cover together."""
    paths = (font_manager.findfont(font_manager.FontProperties(family=[name])) for name in fonts)
    return frozenset(code for path in paths for code in font_manager.get_font(path).get_charmap())


def legible(text: str, style: Style) -> str:
    """Replace characters that no installed font has by □, such as Chinese ones without a Chinese font."""
    if text.isascii():
        return text
    glyphs = _glyphs(style.fonts)
    return "".join(char if ord(char) in glyphs else "□" for char in text)
