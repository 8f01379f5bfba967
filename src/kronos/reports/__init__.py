"""HTML reports: templates, style sheet, palettes, messages in two languages, tables and pages.

- A page is one file without external resources and without scripts. Its inline style is allowed by a content-security
  policy that forbids everything else. Figures are inline SVG in the colours of the page. Only pages of a site, such as
  the live forecast's, link files, of their own origin.
- Light or dark follows the reader's system unless a look is selected. Wide tables scroll on their own.
- Palettes and messages are JSON files; text from users is escaped.
"""

from kronos.reports.html import (
    Look,
    PageOptions,
    Palette,
    ReportPage,
    Theme,
    css_variables,
    format_versions,
    inline_figures,
    linked_style,
    render,
    render_linked,
    validate_look,
)
from kronos.reports.i18n import Language, Translator
from kronos.reports.tables import (
    RowKind,
    Table,
    TableCell,
    TableColumn,
    TableRow,
    Tone,
    change_cell,
    lowest_marked,
    percent_cell,
)

__all__ = [
    "Language",
    "Look",
    "PageOptions",
    "Palette",
    "ReportPage",
    "RowKind",
    "Table",
    "TableCell",
    "TableColumn",
    "TableRow",
    "Theme",
    "Tone",
    "Translator",
    "change_cell",
    "css_variables",
    "format_versions",
    "inline_figures",
    "linked_style",
    "lowest_marked",
    "percent_cell",
    "render",
    "render_linked",
    "validate_look",
]
