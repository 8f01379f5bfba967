"""``kronos train``: tokenizers and models, fine-tuned or from scratch, one or several."""

from __future__ import annotations

import typer

from kronos.cli.errors import Commands
from kronos.cli.train import network, run

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
app.command("tokenizer", epilog=network.TOKENIZER_EPILOG)(network.tokenizer)
app.command("model", epilog=network.MODEL_EPILOG)(network.model)
app.command("run", epilog=run.EPILOG)(run.run)
