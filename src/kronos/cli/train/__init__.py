"""``kronos train``: tokenizers and models, fine-tuned or from scratch, one or several."""

from __future__ import annotations

import typer

from kronos.cli.errors import Commands
from kronos.cli.train import command

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Training: fine-tune or pre-train a tokenizer or a model, or run several configurations.",
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
app.command("run", epilog=command.EPILOG)(command.run)
