"""One look for every HTML page: a template, a style sheet, palettes and messages, and `render`, which joins them.

- A page is one file that needs nothing else: its style is inline and named in a content-security policy that allows
  nothing besides; there is no script. Pictures are inline SVG whose colours are the page's.
- Light or dark follows the reader's system unless the page is made for one of them. Wide tables scroll by themselves.
- Palettes and messages are JSON, so that other faces can share them; what users named is escaped.
"""

from kronos.reports.html import Look, check_look, css_variables, render
from kronos.reports.i18n import Language, Translator
from kronos.reports.tables import Cell, Column, Kind, Row, Table, Tone

__all__ = [
    "Cell",
    "Column",
    "Kind",
    "Language",
    "Look",
    "Row",
    "Table",
    "Tone",
    "Translator",
    "check_look",
    "css_variables",
    "render",
]
