"""Pictures of evaluations: small figures of one width, meant for a grid that reflows from a phone to a desktop.

- They take plain frames and arrays: who scores, and how intervals are made, is not their business.
- Each says what it shows in its own title and labels its marks directly; nothing rests on colour alone: every
  `Series` has a hue and a shape, hollow while raw and filled once calibrated.
- Text keeps its size: a figure is as wide as a phone, so a wide page puts several in a row instead of stretching one.
- `kronos.plotting.svg.inline_svg` turns any of them into a part of a page.
"""

from kronos.plotting.evaluations.canvas import Series
from kronos.plotting.evaluations.coverage import plot_coverage
from kronos.plotting.evaluations.fans import plot_fan
from kronos.plotting.evaluations.ordering import plot_cumulative_ic
from kronos.plotting.evaluations.pits import plot_pit
from kronos.plotting.evaluations.reliabilities import plot_reliability
from kronos.plotting.evaluations.skills import plot_skill

__all__ = [
    "Series",
    "plot_coverage",
    "plot_cumulative_ic",
    "plot_fan",
    "plot_pit",
    "plot_reliability",
    "plot_skill",
]
