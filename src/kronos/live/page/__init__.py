"""The page of the live forecaster: JSON documents, charts and static HTML.

- `documents`: what is published, as JSON.
- `svg`, `forecast_figure`, `track_charts`: charts as inline SVG.
- `past_forecasts`, `archive`: every past forecast beside what came.
- `forecast_page`, `track_view`: what the templates show.
- `site`: all files of the output folder.
"""

from kronos.live.page.site import write_site

__all__ = ["write_site"]
