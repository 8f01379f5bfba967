"""``kronos train``: train tokenizers and models, from scratch or fine-tuned."""

from __future__ import annotations

import typer

from kronos.cli.errors import CommandGroup
from kronos.cli.train import command

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Training: fine-tune or pre-train a tokenizer or a model, or train several configurations.",
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "kronos train model --data btc_1h.csv\n\n"
        "kronos train tokenizer --data data/candles --splits splits.csv\n\n"
        "kronos train run model_a_4h model_b_1d --mode parallel\n\n"
        "kronos train run pretrain_mini --dry-run"
    ),
)
app.command("tokenizer", epilog=command.TOKENIZER_EPILOG)(command.tokenizer)
app.command("model", epilog=command.MODEL_EPILOG)(command.model)
app.command("run", epilog=command.RUN_EPILOG)(command.run)
