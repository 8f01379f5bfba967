"""Train kronos-nano, the bundled model, from scratch: first its tokenizer, then the model.

    python scripts/train_nano.py tokenizer --data ../shared/data --out runs/nano --minutes 25 --peak 2e-3
    python scripts/train_nano.py model     --data ../shared/data --out runs/nano --minutes 36 --peak 2e-3

Notable here:
- windows are normalised with the statistics of a random first part only, and the model's loss is taken after that
  part only. At those positions the task is the one of a forecast: a mean and spread known from the past. Inside that
  part the statistics know the future, and a model trained there learns to expect a return to the window's mean;
- the tokenizer's error is weighted by each window's one-step volatility: what matters for a forecast of the next
  candle is the error in steps, not in window spreads;
- half of the windows are mirrored (prices upside down), so that no market's past drift is learnt as a prophecy;
- the schedule runs on time, so that a run fits the machine; a run that was interrupted resumes from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kronos.nn import Kronos, KronosTokenizer

CONTEXT = 512
FUTURE = 128  # candles after the normalised part, on which the model is trained
SHORTEST = 64  # candles of the normalised part, at least; validation uses as many from before its first date
VALIDATED = 96  # candles after the normalised part in validation
JUMP = 0.30  # a gap between close and next open beyond this splits a series (rolls, mergers, missing years)
CHANNEL_WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 1.5, 0.25, 0.25])  # open, high, low, close, volume, amount

TOKENIZER = {
    "d_in": 6, "d_model": 128, "n_heads": 4, "ff_dim": 256, "n_enc_layers": 3, "n_dec_layers": 4,
    "ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "s1_bits": 10, "s2_bits": 10,
    "beta": 0.05, "gamma0": 1.0, "gamma": 1.1, "zeta": 0.05, "group_size": 4,
}  # fmt: skip
MODEL = {
    "s1_bits": 10, "s2_bits": 10, "n_layers": 4, "d_model": 192, "n_heads": 6, "ff_dim": 512,
    "ffn_dropout_p": 0.1, "attn_dropout_p": 0.0, "resid_dropout_p": 0.1, "token_dropout_p": 0.05, "learn_te": True,
}  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """A stretch of one series without a jump: candles ``[n, 6]`` and their calendar features ``[n, 5]``."""

    group: str
    candles: np.ndarray
    stamps: np.ndarray


def load_segments(data: Path, part: str) -> list[Segment]:
    """All segments of the training or the validation dates that are long enough for a window."""
    least = SHORTEST + (FUTURE if part == "train" else VALIDATED)
    manifest = pd.read_csv(data / "candles" / "MANIFEST.csv")
    splits = pd.read_csv(data / "splits.csv", parse_dates=["validation_from", "test_from"]).set_index("market")
    segments = []
    for row in manifest.itertuples():
        frame = pd.read_parquet(data / "candles" / str(row.path))
        times = pd.to_datetime(frame["timestamps"])
        cut = splits.loc[str(row.market)]
        if part == "train":
            keep = times < cut["validation_from"]
        else:
            first = int((times < cut["validation_from"]).sum()) - SHORTEST  # the past may be seen, not scored
            keep = (times < cut["test_from"]) & (np.arange(len(times)) >= first)
        frame, times = frame[keep], times[keep]
        prices = frame[["open", "high", "low", "close"]].to_numpy(float)
        volume = frame["volume"].to_numpy(float) if "volume" in frame else np.zeros(len(frame))
        amount = frame["amount"].to_numpy(float) if "amount" in frame else volume * prices.mean(1)
        candles = np.column_stack((prices, volume, amount))
        t = times.dt
        stamps = np.column_stack((t.minute, t.hour, t.day_of_week, t.day, t.month))
        good = np.isfinite(candles).all(1) & (prices > 0).all(1)
        candles, stamps = candles[good], stamps[good]
        jumps = np.flatnonzero(np.abs(candles[1:, 0] / candles[:-1, 3] - 1) > JUMP) + 1
        for piece, stamp in zip(np.split(candles, jumps), np.split(stamps, jumps), strict=True):
            if len(piece) >= least:
                segments.append(Segment(f"{row.market} {row.freq}", piece, stamp))
    return segments


class Windows:
    """Random windows over segments: groups (market and interval) by the square root of their size."""

    def __init__(self, segments: list[Segment], seed: int) -> None:
        self.segments = segments
        self.rng = np.random.default_rng(seed)
        sizes = np.array([len(s.candles) for s in segments], float)
        groups = pd.Series(sizes).groupby([s.group for s in segments]).transform("sum").to_numpy()
        weight = sizes / groups * np.sqrt(groups)
        self.chances = weight / weight.sum()

    def batch(self, size: int, known: int, future: int) -> tuple[Tensor, Tensor, Tensor]:
        """Windows of ``known + future`` candles, normalised with the statistics of the first ``known``.

        Returns:
            Candles ``[size, known + future, 6]``, stamps ``[size, known + future, 5]``, and each window's one-step
            volatility in units of its spread ``[size]``.
        """
        length = known + future
        fits = np.array([len(s.candles) >= length for s in self.segments])
        chances = np.where(fits, self.chances, 0)
        rows, stamps, steps = [], [], []
        for i in self.rng.choice(len(self.segments), size, p=chances / chances.sum()):
            segment = self.segments[i]
            start = self.rng.integers(len(segment.candles) - length + 1)
            window = segment.candles[start : start + length].copy()
            if self.rng.random() < 0.05:
                window[:, 4:] = 0
            past = window[:known]
            x = np.clip((window - past.mean(0)) / (past.std(0) + 1e-5), -5, 5)
            if self.rng.random() < 0.5:
                x[:, :4] = -x[:, [0, 2, 1, 3]]
            rows.append(x)
            stamps.append(segment.stamps[start : start + length])
            steps.append(np.diff(x[:known, 3]).std())
        return (
            torch.tensor(np.stack(rows), dtype=torch.float32),
            torch.tensor(np.stack(stamps)),
            torch.tensor(np.array(steps), dtype=torch.float32),
        )

    def known(self) -> int:
        """A random length of the normalised part; longer ones, which forecasts use, more often."""
        return int(self.rng.choice([64, 96, 128, 192, 256, 320, 384], p=[0.06, 0.08, 0.12, 0.14, 0.2, 0.2, 0.2]))


def tokenizer_loss(
    tokenizer: KronosTokenizer, x: Tensor, step: Tensor, quantizer_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """Reconstruction error weighted by one-step volatility, coarse and full, with the quantiser's loss.

    A small ``quantizer_weight`` learns to reconstruct soonest, but leaves most codes unused; 1 spreads them.
    """
    (coarse, full), quantizer, _, ids = tokenizer(x)
    weights = CHANNEL_WEIGHTS / (step[:, None, None] + 0.05) ** 2
    weights = weights / weights.mean()
    errors = [(weights * (part - x) ** 2).mean() for part in (coarse, full)]
    in_steps = ((full - x)[..., 3].square().mean(1).sqrt() / (step + 1e-3)).median()
    parts = {
        "coarse": errors[0].item(),
        "full": errors[1].item(),
        "plain": (full - x)[..., :4].square().mean().sqrt().item(),
        "close_error_in_steps": in_steps.item(),
        "codes": float(len(ids.unique())) / ids.numel(),
    }
    return (0.5 * errors[0] + errors[1] + quantizer_weight * quantizer) / 2, parts


def model_loss(model: Kronos, tokens: list[Tensor], stamps: Tensor, known: int) -> tuple[Tensor, dict[str, float]]:
    """Teacher-forced cross-entropy of the candles after the first ``known``."""
    s1, s2 = tokens
    s1_logits, s2_logits = model(s1[:, :-1], s2[:, :-1], stamps[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:])
    future = slice(known - 1, None)
    loss, coarse, fine = model.head.compute_loss(
        s1_logits[:, future].float(), s2_logits[:, future].float(), s1[:, 1:][:, future], s2[:, 1:][:, future]
    )
    return loss, {"s1": coarse.item(), "s2": fine.item()}


class Clock:
    """Training time used, over all stretches of a run, and the learning rate that follows from it."""

    def __init__(self, minutes: float, peak: float) -> None:
        self.total, self.peak = minutes * 60, peak
        self.used = 0.0
        self._since = time.monotonic()

    def tick(self) -> float:
        """Add the time since the last tick (at most 20 s: a paused process does not age); return progress, 0 to 1."""
        now = time.monotonic()
        self.used += min(now - self._since, 20.0)
        self._since = now
        return min(self.used / self.total, 1.0)

    def rate(self, progress: float) -> float:
        """Linear warm-up over 3 %, then a cosine to a hundredth."""
        if progress < 0.03:
            return self.peak * (0.1 + 0.9 * progress / 0.03)
        return self.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.03) / 0.97)))


def optimizer_for(network: torch.nn.Module, decay: float) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves biases, norms and embeddings alone."""
    matrices = [p for n, p in network.named_parameters() if p.dim() > 1 and "emb" not in n]
    others = [p for n, p in network.named_parameters() if p.dim() <= 1 or "emb" in n]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95))


@dataclass(frozen=True)
class Run:
    """What one call trains: which network, on what, into which folder, for how long."""

    kind: str
    data: Path
    out: Path
    minutes: float
    batch: int
    peak: float
    quantizer_weight: float
    start: Path | None


def train(run: Run) -> None:
    """Train one of the two networks until its time is used; log and checkpoint on the way."""
    kind, data, out, batch = run.kind, run.data, run.out, run.batch
    torch.manual_seed(7)
    out.mkdir(parents=True, exist_ok=True)
    train_windows, valid_windows = (Windows(load_segments(data, part), 7) for part in ("train", "validation"))
    if kind == "tokenizer":
        network: KronosTokenizer | Kronos = (
            KronosTokenizer.from_pretrained(run.start) if run.start else KronosTokenizer(**TOKENIZER)
        )
        encoder = None
    else:
        network = Kronos.from_pretrained(run.start) if run.start else Kronos(**MODEL, s2_attention="causal")
        encoder = KronosTokenizer.from_pretrained(out / "tokenizer")
    optimizer = optimizer_for(network, 0.05)
    clock = Clock(run.minutes, run.peak)
    resume = out / f"{kind}.resume.pt"
    step, best = 0, math.inf
    if resume.exists():
        state = torch.load(resume, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        step, best, clock.used = state["step"], state["best"], state["used"]
        train_windows.rng = np.random.default_rng([7, step])

    def loss_of(windows: Windows, known: int, future: int) -> tuple[Tensor, dict[str, float]]:
        x, stamps, steps = windows.batch(batch, known, future)
        if encoder is not None:
            with torch.no_grad():
                tokens = encoder.encode(x, half=True)
        with torch.autocast("cpu", torch.bfloat16):
            if encoder is None:
                return tokenizer_loss(network, x, steps, run.quantizer_weight)  # type: ignore[arg-type]
            return model_loss(network, tokens, stamps, known)  # type: ignore[arg-type]

    def validate() -> dict[str, float]:
        network.eval()
        valid_windows.rng = np.random.default_rng(99)  # the same windows every time
        with torch.no_grad():
            batches = [loss_of(valid_windows, SHORTEST, VALIDATED) for _ in range(16)]
            rows = [{"loss": loss.item(), **parts} for loss, parts in batches]
        network.train()
        return {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}

    log = (out / f"{kind}.jsonl").open("a")
    network.train()
    started, since, recent = time.monotonic(), step, []
    progress = clock.tick()
    while progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(progress)
        loss, _ = loss_of(train_windows, train_windows.known(), FUTURE)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.item())
        step += 1
        progress = clock.tick()
        if step % 100 == 0 or progress >= 1:
            scores = validate()
            pace = (time.monotonic() - started) / max(step - since, 1)
            line = {"step": step, "minutes": clock.used / 60, "train": float(np.mean(recent)), "s_per_step": pace}
            line |= scores
            recent = []
            log.write(json.dumps(line) + "\n")
            log.flush()
            print(" ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)
            if scores["loss"] < best:
                best = scores["loss"]
                tokenizer = "../tokenizer" if kind == "model" else None
                network.save_pretrained(out / kind, context=CONTEXT, tokenizer=tokenizer)
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "best": best}
            torch.save({**state, "used": clock.used}, resume)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["tokenizer", "model"])
    parser.add_argument("--data", type=Path, required=True, help="folder with candles/ and splits.csv")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--peak", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--quantizer-weight", type=float, default=0.2, help="of the quantiser's loss (tokenizer)")
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from, with a schedule of its own")
    train(Run(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
