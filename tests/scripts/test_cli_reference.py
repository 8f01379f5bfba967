from typing import Annotated, Literal

import typer

from kronos.cli import app
from scripts import cli_reference

EPILOG = (
    "[bold]Examples[/bold]\n\nkronos draw a.csv   [dim](all of it)[/dim]\n\nkronos draw *.csv\n\n"
    'As JSON:\n\n{"a": ["b|c"]}'
)


def small():
    made = typer.Typer()

    @made.callback()
    def top():
        """A program."""

    @made.command(epilog=EPILOG)
    def draw(
        files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files <of> candles.")],
        theme: Annotated[
            Literal["light", "dark"], typer.Option(help="Of the picture | page.", rich_help_panel="Look")
        ] = "light",
        size: Annotated[int | None, typer.Option("--size", "-s", help="Pixels (KRONOS_SIZE).")] = None,
        name: Annotated[list[str] | None, typer.Option(show_default="(the file's)", help="With --size.")] = None,
        quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
        secret: Annotated[bool, typer.Option("--secret", hidden=True)] = False,
    ):
        """Draw [bold]candles[/bold].

        More about a*b.
        """

    @made.command(hidden=True)
    def inner():
        """Not for users."""

    return made


def test_a_page_has_usage_arguments_options_and_examples():
    pages = {page.path: page for page in cli_reference.command_pages(small())}
    assert set(pages) == {"cli/index.md", "cli/draw.md"}
    assert pages["cli/draw.md"].title == "kronos draw"
    assert "| [`kronos draw`](draw.md) | Draw candles. |" in pages["cli/index.md"].markdown
    lines = pages["cli/draw.md"].markdown.splitlines()
    for expected in (
        "# kronos draw",
        "kronos draw [OPTIONS] FILE...",
        "More about a\\*b.",
        "| `FILE...` | Files &lt;of> candles. | required |",
        "## Look",
        "| `--theme` | `light`, `dark` | Of the picture \\| page. | `light` |",
        "## Options",
        "| `--size`, `-s` | integer | Pixels (`KRONOS_SIZE`). |  |",
        "| `--name` | text, repeatable | With `--size`. | the file's |",
        "| `--quiet` | flag | Print nothing. |  |",
        "kronos draw a.csv  # all of it",
        "kronos draw *.csv",
        '{"a": ["b|c"]}',
    ):
        assert expected in lines
    assert not [line for line in lines if "secret" in line or "inner" in line]


def test_the_reference_of_kronos_has_every_option_and_no_markup():
    pages = cli_reference.command_pages(app)
    assert len({page.path for page in pages}) == len(pages)
    command = typer.main.get_command(app)
    for page in pages:
        found = command
        for word in page.words[1:]:
            found = found.commands[word]
        for param in found.params:
            for option in (*param.opts, *param.secondary_opts):
                assert param.hidden or not option.startswith("-") or f"`{option}`" in page.markdown
        assert not any(tag in page.markdown for tag in ("[bold]", "[/", "[dim]"))
