"""The report in Markdown: every number in it comes from the results."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import torch

from benchmarks.decoding import CaseResult
from benchmarks.drawing import TOP_P, VOCABULARY
from benchmarks.results import PLAIN_SHARE, Results, floors

_SMOKE = "**A smoke run with shrunken networks: it shows that the benchmarks run, and its numbers mean nothing.**"


def render(results: Results) -> str:
    """All of it."""
    sections = (
        _opening(results),
        _floors(results),
        _machine(results),
        _cases(results),
        _one_path(results),
        _models(results),
        _many(results),
        _memory(results),
        _startup(results),
        _drawing(results),
        _repeat(),
    )
    return "\n\n".join(sections) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _opening(results: Results) -> str:
    m, plan = results.machine, results.plan
    threads = f"{plan.threads} threads of torch on {m.cores} cores"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    lines = [
        "# Performance",
        "",
        *([_SMOKE, ""] if plan.quick else []),
        f"Written by `python -m benchmarks` on {date}, all of it in one run of {results.seconds / 60:.1f} minutes: "
        f"{m.name}, {threads}, {versions}. Don't edit it; run the benchmarks again.",
        "",
        "Absolute times are this machine's, and those of a shared machine vary from run to run. What carries over are "
        "ratios within one run. Weights are random unless a model is bundled; time depends on them only through top-p, "
        f"for which random weights are the dearer case. Our times are medians of {plan.repeats} calls after one that "
        "isn't counted, with the best beside them.",
    ]
    return "\n".join(lines)


def _floors(results: Results) -> str:
    found = floors(results)
    met = sum(f.met for f in found)
    rows = [(f.what, f.wanted, f.measured, "yes" if f.met else "**no**") for f in found]
    text = f"{met} of {len(found)} are met in this run."
    return f"## Floors\n\n{text}\n\n{table(('', 'wanted', 'measured', 'met'), rows)}"


def _machine(results: Results) -> str:
    m, n = results.machine, results.plan.matrix
    rows = [
        (f"float32 product, {n}×{n}", f"{_giga(m.matrix)} GFLOP/s"),
        (f"bfloat16 product, {n}×{n}", f"{_giga(m.matrix_bf16)} GFLOP/s"),
        ("float32 product, [400×512]·[512×1536]", f"{_giga(m.layer)} GFLOP/s"),
        ("bfloat16 product, [400×512]·[512×1536]", f"{_giga(m.layer_bf16)} GFLOP/s"),
        (f"reading {results.plan.read_mb} MB", f"{_giga(m.read)} GB/s"),
    ]
    text = 'The best of many tries each. "The matrix rate" below is the first of them.'
    return f"## The machine's own rates\n\n{text}\n\n{table(('', 'rate'), rows)}"


def _cases(results: Results) -> str:
    head = (
        *("history + horizon × samples", "method", "ours, s (best)", "plain, s", "ratio"),
        *("plain's rate", "our rate", "plain steps timed", "equal tokens"),
    )
    rate = results.machine.matrix
    rows = [
        (
            *(r.case.title, f"`{r.case.method}`", f"{r.ours.median:.3f} ({r.ours.best:.3f})", f"{r.plain:.1f}"),
            *(f"{r.ratio:.1f}×", f"{r.plain_rate / rate:.0%}", f"{r.our_rate / rate:.0%}"),
            *(f"{r.case.plain_steps} of {r.case.horizon}", f"{r.equal:.2%}"),
        )
        for r in results.cases
    ]
    text = f"""\
kronos-small (float32), from the call to the returned frame: normalising, encoding, generating, decoding and the frame
with its quantiles included. With `predict` history and horizon outgrow the context, and the window slides exactly as in
the published system; `forecast` would cut the history instead.

- *plain*: the uncached decoder of `benchmarks/plain.py`, one run: the history repeated for every sample, encoded and
  read again at every step, as the published system does, with fused attention and heads only where they are read. Its
  rollout is timed on the first steps and scaled to the horizon. A window that still grows makes later steps dearer, so
  the scaled time flatters it.
- *ratio*: plain's time over our median.
- *rate*: operations of the matrix products and of causal attention (`benchmarks/work.py` has the formulas) per second,
  as a share of the matrix rate. For the plain decoder it has to be at least {PLAIN_SHARE:.0%}, or it would be a straw
  man. Ours counts only what ours computes, which is far less, in smaller matrices: the share says how far it is from
  what the machine could do.
- *equal tokens*: pairs of tokens in which both decoders agree on the steps timed, drawn with the same random numbers.
  Both round differently in float32; from the first pair that differs on, a path is another one."""
    return f"## Decoding against a plain decoder\n\n{text}\n\n{table(head, rows)}"


def _one_path(results: Results) -> str:
    singles = [r for r in results.cases if r.case.samples == 1]
    head = ("history + horizon × samples", "step, ms (best)", "weights, MB", "read at, GB/s", "of the bandwidth")
    rows = [_one_path_row(r, results.machine.read) for r in singles]
    text = """\
A single path reads every weight for one row at each step, so memory is its limit, not arithmetic. Steps behind the
first, of the rollout alone. The keys and values that a step reads as well are not counted. Weights that stay in the
processor's cache from one step to the next can make the share exceed 100 %."""
    return f"## One path: distance to the memory\n\n{text}\n\n{table(head, rows)}"


def _one_path_row(r: CaseResult, bandwidth: float) -> tuple[str, ...]:
    rate = r.step_bytes / r.step.median
    step = f"{1e3 * r.step.median:.2f} ({1e3 * r.step.best:.2f})"
    return r.case.title, step, f"{r.step_bytes / 1e6:.1f}", f"{rate / 1e9:.1f}", f"{rate / bandwidth:.0%}"


def _models(results: Results) -> str:
    small = results.model("kronos-small").ours.median
    head = ("model", "precision", "parameters, M", "s (best)", "over small, exact", "peak memory, MB")
    rows = [
        (
            *(m.name, f"`{m.precision}`", f"{m.parameters / 1e6:.1f}", f"{m.ours.median:.3f} ({m.ours.best:.3f})"),
            *(f"{m.ours.median / small:.2f}×", f"{m.peak / 1e6:.0f}"),
        )
        for m in results.models
    ]
    text = f"""\
{results.plan.typical.title}, `forecast`. `exact` is float32; `fast` is bfloat16 where the processor multiplies it
natively, and float32 elsewhere. Memory is the peak of a process that loads the model from its files and makes the
forecast, Python and torch included. Parameters are the model's; each has a tokenizer beside it."""
    return f"## Time and memory per model\n\n{text}\n\n{table(head, rows)}"


def _many(results: Results) -> str:
    many, plan = results.many, results.many.plan
    rows = [
        (name, f"{t.median:.2f} ({t.best:.2f})", f"{plan.series / t.median:.1f}")
        for name, t in (("`forecast_many`", many.together), ("`forecast`, one by one", many.one_by_one))
    ]
    text = (
        f"{plan.series} series of {plan.shortest} to {plan.longest} candles, {plan.horizon} steps × {plan.samples} "
        f"samples each, kronos-small, float32. Together they take "
        f"1/{many.one_by_one.median / many.together.median:.2f} of the time."
    )
    return f"## Many series\n\n{text}\n\n{table(('', 's (best)', 'series/s'), rows)}"


def _memory(results: Results) -> str:
    rows = [(name, f"{peak / 1e6:.0f}") for name, peak in results.memory.items()]
    text = "Peak resident memory of a fresh process that goes that far; kronos-small, float32."
    return f"## Memory\n\n{text}\n\n{table(('', 'MB'), rows)}"


def _startup(results: Results) -> str:
    rows = [(f"`{name}`", f"{t.median:.3f}", f"{t.best:.3f}") for name, t in results.startup.items()]
    rounds = results.plan.rounds
    text = f"Fresh processes, started in turn {rounds} times after one round that isn't counted."
    return f"## Start-up\n\n{text}\n\n{table(('', 'median, s', 'best, s'), rows)}"


def _drawing(results: Results) -> str:
    head = ("rows", "top-p", "logits' spread", "keyed, µs", "multinomial, µs", "published filter + multinomial, µs")
    rows = [
        (
            *(str(d.rows), "off" if d.top_p == 1 else f"{d.top_p}", f"{d.spread:.0f}"),
            *(f"{1e6 * t.median:.0f}" for t in (d.keyed, d.multinomial, d.published)),
        )
        for d in results.drawing
    ]
    text = f"""\
One token for every row of {VOCABULARY} logits. *keyed*: one uniform number per row, inverted, which is what `forecast`
does; *multinomial*: `torch.multinomial` behind our filter, which is what `predict` does; *published*: the same behind a
filter that sorts. With top-p {TOP_P} and logits of spread 1 the nucleus is wider than the 128 tokens that our filter
looks at first, and it sorts too; with spread 4 they hold it."""
    return f"## Drawing tokens\n\n{text}\n\n{table(head, rows)}"


def _repeat() -> str:
    return """\
## Repeat

```sh
make bench                                  # all of this, into docs/performance.md
python -m benchmarks --output elsewhere.md  # the same, into another file
python -m benchmarks --quick                # a smoke run in seconds, printed
```

Nothing else should run meanwhile. No test asserts a time."""


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.1f}"
