"""Arguments of ``kronos train``, and the configuration that they and a configuration file make together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.cli.reading_options import ReadingArgs
from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.datasets.config import StageName
    from kronos.training.config import TrainConfig

DEFAULT_CONFIG = "finetune_csv"


@dataclass(frozen=True)
class TrainArgs:
    """Arguments of ``kronos train model`` and ``kronos train tokenizer``; None leaves a value to the configuration.

    Attributes:
        config: Name or path of the configuration.
        data: Candle file or folder, prepared dataset or Qlib folder.
        splits: File of split dates by market.
        quality: ``paper`` for candles that pass the paper's filters, ``none`` for all.
        lookback: Candles of history per training window.
        predict: Candles to predict per training window.
        start: Initial weights of the model, or the network whose architecture to use.
        tokenizer: Tokenizer of the model, or initial weights of the tokenizer.
        from_scratch: Whether to use the architecture of ``start`` with random weights.
        lora: Rank of LoRA adapters.
        epochs: Maximum number of epochs.
        steps: Optimizer steps per epoch.
        minutes: Time limit.
        batch_size: Windows per optimizer step.
        learning_rate: Peak learning rate.
        patience: Epochs without improvement before training stops.
        seed: Random seed.
        precision: ``float32``, ``bfloat16`` or ``auto``.
        device: Device to train on.
        output: Folder for trained models.
        name: Name of the trained model.
        reading: How candle files are written.
        interval: Length of a candle.
    """

    config: str | None = None
    data: str | None = None
    splits: Path | None = None
    quality: str | None = None
    lookback: int | None = None
    predict: int | None = None
    start: str | None = None
    tokenizer: str | None = None
    from_scratch: bool = False
    lora: int | None = None
    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    patience: int | None = None
    seed: int | None = None
    precision: str | None = None
    device: str | None = None
    output: Path | None = None
    name: str | None = None
    reading: ReadingArgs = field(default_factory=ReadingArgs)
    interval: str | None = None


@dataclass(frozen=True)
class TrainOutputArgs:
    """What ``kronos train`` prints and logs.

    Attributes:
        json: Whether stdout gets one JSON document.
        quiet: Whether to print nothing but errors.
        dry_run: Whether to stop after the plan.
        tensorboard: Whether to write TensorBoard events.
    """

    json: bool = False
    quiet: bool = False
    dry_run: bool = False
    tensorboard: bool = False

    @property
    def prints_text(self) -> bool:
        """Whether to print progress and results as text."""
        return not (self.json or self.quiet)


def resolve_config(stage: StageName, args: TrainArgs) -> TrainConfig:
    """Return the configuration of a training, overridden by the arguments.

    Raises:
        ParameterError: If neither data nor a configuration is given, or a value is invalid.
    """
    from kronos.training.config import load_config

    if args.config is None and args.data is None:
        raise ParameterError("Nothing to train on: give --data with a file of candles, or --config.")
    config = load_config(args.config or DEFAULT_CONFIG)
    settings = _stage_overrides(args)
    overrides: dict[str, Any] = {
        **_without_none(output=args.output, model_name=args.name),
        **_data_overrides(args),
        **({"training": {stage: settings}} if settings else {}),
    }
    if args.config is None:
        assert args.data is not None  # checked above
        overrides |= {"stages": [stage], "description": ""}
        overrides.setdefault("model_name", _model_name(args.data))
        if args.from_scratch:
            config = config.model_copy(update={"training": type(config.training)()})
    return config.changed(overrides | _weight_overrides(stage, args, config))


def shared_overrides(output: Path | None, device: str | None) -> dict[str, Any]:
    """Return the overrides of every configuration of a command: output folder and device of both stages."""
    settings = _device_override(device)
    return _without_none(output=output, training={"tokenizer": settings, "model": settings} if settings else None)


def _data_overrides(args: TrainArgs) -> dict[str, Any]:
    windows = _without_none(lookback=args.lookback, predict=args.predict)
    if args.lookback is not None:
        windows["shortest"] = None
    split = _without_none(file=args.splits)
    reading = args.reading.section(args.interval)
    return _without_none(
        data=args.data,
        windows=windows or None,
        split=split or None,
        quality=args.quality,
        reading=reading or None,
    )


def _stage_overrides(args: TrainArgs) -> dict[str, Any]:
    return _without_none(
        epochs=args.epochs,
        steps_per_epoch=args.steps,
        minutes=args.minutes,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        patience=args.patience,
        seed=args.seed,
        precision=args.precision,
    ) | _device_override(args.device)


def _device_override(device: str | None) -> dict[str, Any]:
    from kronos.settings import get_settings

    return _without_none(device=device or get_settings().device)


def _weight_overrides(stage: StageName, args: TrainArgs, config: TrainConfig) -> dict[str, Any]:
    """Return the overrides of initial weights, architecture and adapters.

    Raises:
        ParameterError: If ``--lora`` and ``--from-scratch`` are combined.
    """
    overrides: dict[str, Any] = {} if args.lora is None else {"lora": {"rank": args.lora}}
    if args.from_scratch:
        if args.lora is not None:
            raise ParameterError("--lora adapts existing weights; leave out --lora or --from-scratch.")
        shape = args.start or getattr(config.starts, stage)
        if shape is None:
            return overrides  # the configuration itself starts from random weights
        tokenizer = args.tokenizer or config.starts.tokenizer or _own_tokenizer(shape) if stage == "model" else None
        start = {"tokenizer": tokenizer, "model": None}
        return overrides | {"architecture": {stage: shape}, "start": start, "stages": [stage]}
    if args.start is not None:
        return overrides | {"architecture": None, "start": {"tokenizer": args.tokenizer, "model": args.start}}
    return overrides | ({} if args.tokenizer is None else {"start": {"tokenizer": args.tokenizer}})


def _own_tokenizer(model: str) -> str:
    """Return the tokenizer of a model.

    Raises:
        CheckpointError: If there is no such model.
    """
    from kronos.zoo import find_entry, read_pairing, resolve_checkpoint

    entry = find_entry(model)
    if entry is not None and entry.tokenizer is not None:
        return entry.tokenizer
    return read_pairing(resolve_checkpoint(model, kind="model")).tokenizer or model


def _model_name(data: str) -> str:
    """Derive a model's name, which is also a folder's, from its data: ``btc_1h`` for ``data/btc_1h.csv``."""
    last = Path(data.split(":")[-1]).name
    stem = last.split(".")[0] if Path(last).suffix else last
    name = "".join(char if char.isalnum() or char in "_+-." else "_" for char in stem).lstrip("_+-.")
    return name[:80] or "model"


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
