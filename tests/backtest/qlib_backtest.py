"""Backtest with Qlib itself; runs in a Python with pyqlib and without Kronos.

``python qlib_backtest.py FOLDER SIGNALS.csv CASES.json OUT.npz`` runs its ``TopkDropoutStrategy`` once per case, with
the options of the case, and writes ``<case>/<column>`` of its report, ``<case>/amounts`` [T, N] of its positions, in
adjusted shares, and ``<case>/risk`` of its excess returns.

Qlib reads the holdings from a set of names, whose order changes with the hash seed of the process. It matters where
more holdings than are dropped have no score and there are no candidates to buy: Qlib's result differs from run to run.
A case with ``"ordered": true`` has the holdings in the order of their names, so that it has one result.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import qlib
from qlib.backtest import backtest
from qlib.backtest.position import Position
from qlib.contrib.evaluate import risk_analysis
from qlib.contrib.strategy import TopkDropoutStrategy


@contextmanager
def ordered_holdings(ordered: bool) -> Iterator[None]:
    given = Position.get_stock_list
    if ordered:
        Position.get_stock_list = lambda self: sorted(given(self))
    try:
        yield
    finally:
        Position.get_stock_list = given


def run(signals: pd.Series, case: dict, instruments: list[str], benchmark: pd.Series) -> dict[str, np.ndarray]:
    portfolio, _ = backtest(
        start_time=case["start"],
        end_time=case["end"],
        strategy=TopkDropoutStrategy(signal=signals, **case["strategy"]),
        executor={
            "class": "SimulatorExecutor",
            "module_path": "qlib.backtest.executor",
            "kwargs": {"time_per_step": "day", "generate_portfolio_metrics": True},
        },
        benchmark=benchmark,
        account=case["account"],
        exchange_kwargs={"freq": "day", **case["exchange"]},
    )
    report, positions = portfolio["1day"]
    amounts = np.zeros((len(report), len(instruments)))
    for row, day in enumerate(report.index):
        for column, name in enumerate(instruments):
            amounts[row, column] = positions[day].get_stock_amount(name)
    excess = report["return"] - report["bench"] - report["cost"]
    result = {name: report[name].to_numpy() for name in ("account", "cash", "return", "cost", "turnover")}
    risk = risk_analysis(excess, freq="day")["risk"]
    result["risk"] = risk[["annualized_return", "information_ratio", "max_drawdown"]].to_numpy()
    return result | {"amounts": amounts, "dates": report.index.as_unit("s").asi8}


def main(folder: str, signals: str, cases: str, out: str) -> None:
    qlib.init(provider_uri=folder, kernels=1, logging_level=50)
    table = pd.read_csv(signals, index_col=0, parse_dates=True)
    instruments = [name for name in table.columns if name != "benchmark"]
    scores = table[instruments].rename_axis(index="datetime", columns="instrument").stack().dropna()
    results = {}
    for name, case in json.loads(Path(cases).read_text("utf-8")).items():
        with ordered_holdings(case["ordered"]):
            found = run(scores, case, instruments, table["benchmark"])
        results |= {f"{name}/{key}": values for key, values in found.items()}
    np.savez(out, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
