"""``kronos doctor``: what is installed, what it runs on, what is here, and whether it works."""

from __future__ import annotations

from typing import Annotated

import typer

EPILOG = "[bold]Examples[/bold]\n\nkronos doctor\n\nkronos doctor --json > report.json"


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Check versions, devices, caches, extras; try a small forecast. Status 0 if forecasting works."""
    from kronos.cli.checkup import examine
    from kronos.cli.console import emit, print_json, spinner, stdout

    with spinner("Looking around", wanted=True):
        report = examine()
    if json:
        print_json(report)
    else:
        from kronos.cli.checkup_view import view

        emit(stdout(), view(report))
    if report["self_test"]["status"] == "failed":
        raise typer.Exit(1)
