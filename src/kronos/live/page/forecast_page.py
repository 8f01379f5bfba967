"""The page of a live forecast: what its template shows, in one language."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kronos.formatting import format_price, format_signed, percent
from kronos.live.page.documents import definitions
from kronos.live.page.forecast_figure import NARROW, WIDE, draw_forecast, format_minute
from kronos.live.page.past_forecasts import count_kinds, kind_of, view_past
from kronos.live.page.track_view import TrackView
from kronos.plotting.ticks import price_decimals
from kronos.reports import Language, Palette, Table, TableCell, TableColumn, TableRow, Translator, render_linked
from kronos.sources.replay import Replay

SECTIONS = ("chart", "track", "past", "verify", "provenance")
_SHOWN_PASTS = 12  # the others are in the archive


@dataclass(frozen=True)
class Link:
    """A link to another page.

    Attributes:
        href: Relative address.
        name: Text of the link.
        tag: Language of the target, for links between languages.
        current: Whether it leads to the page that it is on.
    """

    href: str
    name: str
    tag: str = ""
    current: bool = False


@dataclass(frozen=True)
class PageLinks:
    """Where a page lies among the others.

    Attributes:
        root: Relative address of the folder of style sheet and script.
        languages: The page in other languages.
        series: All series.
        months: Pages of the archive, the newest first.
        chart: File name of the picture.
    """

    root: str
    languages: Sequence[Link]
    series: Sequence[Link] = field(default=())
    months: Sequence[Link] = field(default=())
    chart: str = "prediction_chart.png"

    def content(self) -> dict[str, Any]:
        """Return the variables of the base template."""
        return {"root": self.root, "languages": self.languages, "series": self.series, "months": self.months}


@dataclass(frozen=True)
class BigNumber:
    """A number of the header row.

    Attributes:
        name: Name of the number.
        value: The number.
        definition: What it means.
        realised: How such numbers have fared so far.
        label: Its label.
        change: A change beside it; empty for none.
        tone: ``up`` or ``down``, of the change.
        detail: A second line, such as an interval.
        id: Id of the element whose text the script updates.
    """

    name: str
    label: str
    value: str
    definition: str
    realised: str
    change: str = ""
    tone: str = ""
    detail: str = ""
    id: str = ""


class ForecastPage:
    """The page of one series in one language.

    Args:
        document: ``forecast.json``.
        pasts: Past forecasts, the newest first.
        language: Language.
        palette: Palette.
        links: Where the page lies.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        pasts: Sequence[Mapping[str, Any]],
        *,
        language: Language,
        palette: Palette,
        links: PageLinks,
    ) -> None:
        self.document, self.pasts, self.links = document, pasts, links
        self.language, self.palette = language, palette
        self.t = Translator(language)
        self.track = TrackView(document["track_record"], self.t)

    def render(self) -> str:
        """Render the page."""
        return render_linked(
            "live.html", self.content(), title=self.title, language=self.language, palette=self.palette
        )

    @property
    def title(self) -> str:
        """Title of the page; simulated candles are named there too."""
        title = f"{self._heading()} · Kronos"
        return f"[{self.t('live.simulated.word')}] {title}" if self.document["simulated"] else title

    def content(self) -> dict[str, Any]:
        """Return the variables of the template."""
        document, t = self.document, self.t
        has_forecast, decimals = bool(document["steps"]), document_decimals(document)
        settled = [past for past in self.pasts if kind_of(past) != "pending"]
        content = {
            **self.links.content(),
            "document": document,
            "heading": self._heading(),
            "banners": self._banners(),
            "sections": SECTIONS,
            "numbers": self._numbers() if has_forecast else [],
            "charts": [draw_forecast(document, t, size) for size in (WIDE, NARROW)] if has_forecast else [],
            "chart_file": self.links.chart,
            "pasts": [view_past(past, t, decimals) for past in settled[:_SHOWN_PASTS]],
            "pending": len(self.pasts) - len(settled),
            "verify_command": self._verify_command(),
            "provenance": self._provenance(),
            "folded": [(t("live.provenance.protocol"), _indented(document["protocol"]))],
            "track": self.track,
        }
        if has_forecast:
            content |= {
                "made": t("live.made", made=format_minute(document["made_at"]), as_of=format_minute(document["as_of"])),
                "state_words": t(f"live.state.{document['state']}", model=document["model"]),
                "steps": self._table(),
                "replay": self._replay,
                "shape": "paths" if document["closes"] else "bands",
            }
        return content

    @property
    def _replay(self) -> bool:
        """Whether the candles come from the past, as if they closed now: their age says nothing."""
        return bool(self.document["source"] == Replay.name)

    def _heading(self) -> str:
        document = self.document
        return self.t(
            "live.title", symbol=document["symbol"], interval=document["interval"], horizon=document["horizon"]
        )

    def _banners(self) -> list[dict[str, str]]:
        """What is out of the ordinary in this cycle."""
        document, t = self.document, self.t
        status, found = document["status"], []
        if status in ("waiting", "failed"):
            key = "live.banner.kept" if document["steps"] else "live.banner.none"
            found.append({"tone": "amber", "text": t(key, reason=document["reason"])})
        if status == "stand-in":
            found.append({"tone": "amber", "text": document["reason"]})
        if document["late"]:
            found.append({"tone": "amber", "text": t("live.banner.late")})
        return found

    # Numbers --------------------------------------------------------------

    def _numbers(self) -> list[BigNumber]:
        document, t = self.document, self.t
        meanings, realised = definitions(document["protocol"], t), self.track.realised()
        price = format_price(document["last_close"], document_decimals(self.document))
        change, tone = self._change()
        numbers = [BigNumber("price", t("live.numbers.price"), price, t("live.numbers.price_words"), "", change, tone)]
        for event in ("upside", "amplification"):
            value, detail = self._chance(event)
            label = t(f"live.numbers.{event}", horizon=document["horizon"])
            numbers.append(BigNumber(event, label, value, meanings[event], "", detail=detail))
        numbers += [
            *self._times(),
            BigNumber(
                "model",
                t("live.numbers.model"),
                document["model"],
                t("live.numbers.model_words", paths=document["paths"], source=document["source"] or "–"),
                "",
                detail=t(f"live.states.{document['state']}"),
            ),
        ]
        return [_with_realised(number, realised[number.name]) for number in numbers]

    def _times(self) -> list[BigNumber]:
        """Next update and age of the data; the script counts on from them, but not on the clock of a replay."""
        document, t = self.document, self.t
        next_time, as_of = format_minute(document["next_origin"]), format_minute(document["as_of"])
        known = t("live.numbers.age_words", time=as_of)
        if self._replay:
            following = BigNumber(
                "next", t("live.numbers.next_replay"), next_time[11:], t("live.numbers.next_replay_words"), ""
            )
            return [following, BigNumber("age", t("live.numbers.age_replay"), as_of[:16], known, "")]
        return [
            BigNumber("next", t("live.numbers.next"), next_time[11:], t("live.numbers.next_words"), "", id="countdown"),
            BigNumber("age", t("live.numbers.age"), as_of[11:], known, "", id="age"),
        ]

    def _change(self) -> tuple[str, str]:
        last, previous = self.document["last_close"], self.document["previous_close"]
        if not previous:
            return "", ""
        change = 100 * (last / previous - 1)
        return f"{format_signed(change, 2)} %", "up" if change > 0 else "down" if change < 0 else ""

    def _chance(self, event: str) -> tuple[str, str]:
        """A probability, and its interval with the raw one beside it."""
        document, t = self.document, self.t
        chances = document["probabilities"][event]
        state = document["state"] if document["state"] in chances else "raw"
        chance = chances[state]
        detail = t("live.numbers.interval", low=percent(chance["low"], 0), high=percent(chance["high"], 0))
        if state != "raw":
            detail += t("live.numbers.raw", value=percent(chances["raw"]["estimate"], 0))
        return percent(chance["estimate"], 0), detail

    # Details --------------------------------------------------------------

    def _table(self) -> Table:
        """The forecast step by step."""
        t, decimals = self.t, document_decimals(self.document)
        bands = [(level, end) for level in ("50", "80", "95") for end in (0, 1)]
        columns = [
            TableColumn(t("live.table.time"), t("live.table.forecast")),
            TableColumn(t("live.table.mean"), t("live.table.forecast")),
            TableColumn(t("live.table.median"), t("live.table.forecast")),
            *(TableColumn(t(f"live.table.{('low', 'high')[end]}"), f"{level} %") for level, end in bands),
            *(TableColumn(t(f"live.table.{name}"), t("live.table.path")) for name in ("open", "high", "low", "close")),
        ]
        rows = []
        for step in self.document["steps"]:
            values = [step["mean"], step["median"], *(step["bands"][level][end] for level, end in bands)]
            values += [step["candle"][name] for name in ("open", "high", "low", "close")]
            cells = [TableCell(format_price(value, decimals)) for value in values]
            rows.append(TableRow(format_minute(step["time"]), cells))
        return Table(t("live.table.caption"), columns, rows, t("live.table.note"))

    def _provenance(self) -> list[tuple[str, str]]:
        document, t = self.document, self.t
        made_of = document["made_of"] or {}
        model, history = made_of.get("model", document["protocol"]["model"]), made_of.get("history", {})
        sampling = document["protocol"]["sampling"]
        values = {
            "series": document["id"],
            "model": _hashed(model["name"], model["sha256"]),
            "tokenizer": _hashed("", model["tokenizer_sha256"]),
            "calibration": _hashed("", model["calibration_sha256"]),
            "sampling": ", ".join(f"{name} {value:g}" for name, value in sampling.items()),
            "seed": str(made_of.get("seed", "")),
            "history": _hashed(str(history.get("candles", "")), history.get("sha256")),
            "source": document["source"] or "",
            "versions": ", ".join(f"{name} {version}" for name, version in made_of.get("versions", {}).items()),
            "checked": format_minute(document["checked_at"]),
        }
        return [(t(f"live.provenance.{name}"), value) for name, value in values.items() if value]

    def _verify_command(self) -> str:
        head = self.document["head"]
        return "kronos live verify" + (f" --head {head['seq']}:{head['hash']}" if head else "")


class ArchivePage:
    """The past forecasts of one period in one language.

    Args:
        document: ``forecast.json`` of the series.
        period: The period, such as ``2026-03``.
        pasts: All of its past forecasts, the newest first.
        language: Language.
        palette: Palette.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        period: str,
        pasts: Sequence[Mapping[str, Any]],
        *,
        language: Language,
        palette: Palette,
    ) -> None:
        self.document = {**document, "simulated": bool(document["protocol"]["simulated"]), "stand_in": False}
        self.period, self.pasts, self.language, self.palette = period, pasts, language, palette
        self.t = Translator(language)

    def render(self, links: PageLinks, back: str) -> str:
        """Render the page.

        Args:
            links: Where the page lies.
            back: Relative address of the page of the series.
        """
        t, decimals = self.t, document_decimals(self.document)
        title = t("live.archive.title", symbol=self.document["symbol"], period=self.period)
        content = {
            **links.content(),
            "document": self.document,
            "back": back,
            "data": f"{self.period}.json",
            "summary": self._summary(),
            "pasts": [view_past(past, t, decimals) for past in self.pasts],
        }
        title = f"[{t('live.simulated.word')}] {title}" if self.document["simulated"] else title
        return render_linked("live_archive.html", content, title=title, language=self.language, palette=self.palette)

    def _summary(self) -> str:
        counts = count_kinds(self.pasts)
        return self.t("live.archive.summary", total=len(self.pasts), **counts)


def document_decimals(document: Mapping[str, Any]) -> int:
    """Return the decimals of the market's prices: 2 for 187.35, 0 for 67,200; 2 without any price."""
    columns = document["history"] or {}
    prices = np.array([columns.get(name, ()) for name in ("open", "high", "low", "close")], dtype=float)
    return price_decimals(prices) if prices.size else 2


def _with_realised(number: BigNumber, realised: str) -> BigNumber:
    return BigNumber(**{**number.__dict__, "realised": realised})


def _hashed(name: str, digest: str | None) -> str:
    return " · ".join(part for part in (name, f"SHA-256 {digest}" if digest else "") if part)


def _indented(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
