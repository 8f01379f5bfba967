"""Plan of a training, made before it starts: stages, samples, steps, disk space and problems.

plan = make_plan(load_config("finetune_csv"))
plan.check()   # raises before the first step, not after an hour
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from kronos.datasets.config import STAGES, Split, StageName
from kronos.datasets.discovery import is_dataset
from kronos.datasets.splits import SplitDates, read_split_dates
from kronos.errors import KronosError, ParameterError
from kronos.formatting import expand_user, megabytes
from kronos.locks import LOCK
from kronos.training.config import TrainConfig, TrainingArguments, config_differences, load_config
from kronos.training.run_folder import CONFIG, is_done, load_record, result_folder
from kronos.training.torchrun import is_first, world_size
from kronos.zoo import (
    CheckpointRef,
    Config,
    Normalisation,
    count_parameters,
    read_config,
    read_normalisation,
    read_pairing,
    resolve_checkpoint,
)

if TYPE_CHECKING:
    from kronos.datasets.training_data import TrainingData, WindowSettings

PartName = Literal["train", "val", "test"]
PARTS: tuple[PartName, ...] = ("train", "val", "test")
DISK_MARGIN = 20 * 2**20  # bytes for logs, curves and the report
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class StagePlan:
    """Plan for training one network.

    Attributes:
        stage: The network.
        settings: Training settings.
        start: Initial weights; None for new ones.
        shape: Architecture.
        trained: Number of trainable parameters.
        steps_per_epoch: Steps per epoch.
        done: Whether an earlier run has finished this stage.
    """

    stage: StageName
    settings: TrainingArguments
    start: CheckpointRef | None
    shape: Config
    trained: int
    steps_per_epoch: int
    done: bool

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return count_parameters(self.shape, self.stage)

    @property
    def steps(self) -> int:
        """Maximum number of steps."""
        return self.steps_per_epoch * self.settings.epochs

    @property
    def disk(self) -> int:
        """Bytes on disk: two checkpoints (weights, two moments, averages), the best weights and a copy of them."""
        averages = self.trained if self.settings.ema is not None else 0
        return _FLOAT_BYTES * (2 * (self.parameters + 2 * self.trained + averages) + 2 * self.parameters)


@dataclass(frozen=True)
class RunPlan:
    """Plan for the training of one configuration.

    Attributes:
        config: The configuration.
        folder: Output folder.
        stages: Stages in order; if there are problems, only those that could be planned.
        windows: Available samples by part; empty if the candles cannot be used.
        normalisation: Normalisation of the candles.
        context: Longest window that the model will be used with.
        tokenizer: Name or folder of the model's tokenizer, which may not be trained yet.
        needs: Networks of other runs that have to be trained first.
        problems: Problems, one sentence each.
        skipped: Path of each file that cannot be read, and why.
    """

    config: TrainConfig
    folder: Path
    stages: tuple[StagePlan, ...]
    windows: Mapping[str, int]
    normalisation: Normalisation
    context: int
    tokenizer: str | None
    needs: tuple[Path, ...]
    problems: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.config.model_name

    @property
    def disk(self) -> int:
        """Bytes on disk for all stages."""
        return DISK_MARGIN + sum(stage.disk for stage in self.stages)

    def check(self) -> None:
        """Raise the first problem, if there is one.

        Raises:
            ParameterError: With the first problem and the number of further ones.
        """
        if self.problems:
            more = len(self.problems) - 1
            suffix = f" ({more} more with --dry-run)" if more else ""
            raise ParameterError(f"{self.name}: {self.problems[0].rstrip('.')}{suffix}.")

    def to_dict(self) -> dict[str, Any]:
        """The plan, ready for JSON."""
        return {
            "model_name": self.name,
            "description": self.config.description,
            "folder": str(self.folder),
            "data": self.config.data,
            "windows": {
                "lookback": self.config.windows.lookback,
                "predict": self.config.windows.predict,
                **{f"{part}_available": self.windows.get(part) for part in PARTS},
            },
            "normalisation": self.normalisation,
            "context": self.context,
            "tokenizer": self.tokenizer,
            "needs": [str(path) for path in self.needs],
            "stages": [
                {
                    "stage": stage.stage,
                    "start": stage.start.ref if stage.start is not None else None,
                    "parameters": stage.parameters,
                    "trained": stage.trained,
                    "epochs": stage.settings.epochs,
                    "steps_per_epoch": stage.steps_per_epoch,
                    "steps": stage.steps,
                    "done": stage.done,
                    "disk_bytes": stage.disk,
                    "settings": stage.settings.model_dump(mode="json"),
                }
                for stage in self.stages
            ],
            "disk_bytes": self.disk,
            "problems": list(self.problems),
            "skipped": [{"path": path, "problem": problem} for path, problem in self.skipped],
        }


_DEFAULT_CONTEXT = 512  # of a model trained from scratch
_SMALLER_WINDOWS = ((64, 24), (64, 8), (32, 8))  # to suggest if there are no samples: lookback and predict
_FEW_CANDLES = 200_000  # in more, the search for other windows takes longer than it helps

Value = TypeVar("Value")


def make_plan(
    config: TrainConfig,
    *,
    stages: Sequence[StageName] | None = None,
    expected: Sequence[Path] = (),
    restart: bool = False,
    cache: Path | None = None,
) -> RunPlan:
    """Plan a training and collect its problems.

    Args:
        config: The configuration.
        stages: Stages to train; None for all of the configuration.
        expected: Folders of networks that other runs will have trained by then.
        restart: Whether the results of an earlier run in the folder will be deleted.
        cache: Folder in which candles are cached; None for ``data/training_cache``.
    """
    return _Planner(config, tuple(stages or config.stages), tuple(expected), restart, cache).plan()


def check_run_folder(config: TrainConfig, stages: Sequence[StageName], *, restart: bool = False) -> None:
    """Check that a folder does not hold another training by now, as `make_plan` did.

    Raises:
        ParameterError: If it does.
    """
    if not (config.folder / CONFIG).is_file():
        return
    planner = _Planner(config, tuple(stages), (), restart, None)
    planner.check_folder()
    if planner.problems:
        raise ParameterError(f"{config.model_name}: {planner.problems[0]}")


def window_settings(config: TrainConfig, normalisation: Normalisation) -> WindowSettings:
    """Window settings for `WindowDataset`."""
    from kronos.datasets.training_data import WindowSettings

    return WindowSettings(**(config.windows.model_dump() | {"normalisation": normalisation}))


def open_data(config: TrainConfig, cache: Path | None = None) -> TrainingData:
    """Open the candles of a training, with their split.

    Args:
        config: The configuration.
        cache: Folder in which the candles are cached; None for ``data/training_cache``.

    Raises:
        KronosError: If they cannot be used.
    """
    from kronos.datasets.training_data import CACHE, open_training_data

    if config.prepared_by is not None and not is_dataset(expand_user(config.data)):
        name = shlex.quote(config.prepared_by)
        raise ParameterError(
            f"The dataset {config.data} is not prepared: run 'kronos data prepare --config {name}' first, or 'kronos "
            f"pipeline {name}', which prepares, trains and evaluates."
        )
    split: Split | SplitDates = config.split
    if config.split.file is not None:
        split = replace(read_split_dates(expand_user(config.split.file)), embargo=config.split.embargo)
    windows, reading = config.windows, config.reading.options()
    return open_training_data(
        config.data, split=split, windows=windows, cache=cache or CACHE, quality=config.quality, reading=reading
    )


def _smaller_windows(config: TrainConfig, normalisation: Normalisation, context: int, cache: Path | None) -> str | None:
    """The largest windows for which each part has samples, as options; None if there are none."""
    from kronos.datasets.windows import WindowDataset

    own = (config.windows.lookback, config.windows.predict)
    for quality in dict.fromkeys((config.quality, "none")):
        for lookback, predict in (own, *(size for size in _SMALLER_WINDOWS if sum(size) < min(sum(own), context + 1))):
            windows: dict[str, int | None] = {"lookback": lookback, "predict": predict}
            if (lookback, predict) != own:
                windows["shortest"] = None
            changed = config.changed({"quality": quality, "windows": windows})
            settings = window_settings(changed, normalisation)
            try:
                data = open_data(changed, cache)
                counts = [f"{WindowDataset(data, part, settings).available:,}" for part in PARTS]
            except KronosError:
                continue
            options = [f"--quality {quality}"] if quality != config.quality else []
            options += [f"--lookback {lookback} --predict {predict}"] if (lookback, predict) != own else []
            train, validation, test = counts
            return (
                f"{config.data} has too few unbroken candles for samples of {own[0]} + {own[1]}: choose "
                f"{' '.join(options)} (quality and windows of a configuration), which gives {train} samples for "
                f"training, {validation} for validation and {test} for the test."
            )
    return None


class _Planner:
    """Collects all problems: none of them hides the others."""

    def __init__(
        self,
        config: TrainConfig,
        stages: tuple[StageName, ...],
        expected: tuple[Path, ...],
        restart: bool,
        cache: Path | None,
    ) -> None:
        self.config, self.selected, self.restart, self.cache = config, stages, restart, cache
        self.folder = config.folder
        self.expected = {_absolute(path) for path in expected}
        self.problems: list[str] = []
        self.skipped: tuple[tuple[str, str], ...] = ()
        self.needs: list[Path] = []

    def plan(self) -> RunPlan:
        starts = self.config.starts
        located = {stage: self._locate(getattr(starts, stage), stage) for stage in STAGES}
        model = located["model"]
        pairing = self._try(partial(read_pairing, model)) if model is not None else None
        if starts.tokenizer is None and pairing is not None and not self.config.from_scratch("tokenizer"):
            entry = model.entry if model is not None else None
            partner = entry.tokenizer if entry is not None else None
            located["tokenizer"] = self._locate(partner or pairing.tokenizer, "tokenizer")
        shapes = {stage: self._shape(stage, located[stage]) for stage in STAGES}
        normalisation = self._normalisation(located["tokenizer"])
        context = self.config.context or (pairing.context if pairing is not None else _DEFAULT_CONTEXT)
        windows = self._windows(normalisation, context)
        stages = [
            self._stage(stage, located[stage], shapes[stage], windows) for stage in STAGES if stage in self.selected
        ]
        self._check_sizes(shapes, context)
        self.check_folder()
        plan = RunPlan(
            self.config,
            self.folder,
            tuple(stage for stage in stages if stage is not None),
            windows,
            normalisation,
            context,
            self._tokenizer(located["tokenizer"], starts.tokenizer),
            tuple(dict.fromkeys(self.needs)),
            (),
            self.skipped,
        )
        self._check_disk(plan)
        return replace(plan, problems=tuple(dict.fromkeys(self.problems)))

    def _try(self, call: Callable[[], Value]) -> Value | None:
        """Result of a call; None, and a problem, if it fails."""
        try:
            return call()
        except KronosError as error:
            self.problems.append(str(error))
            return None

    def _locate(self, ref: str | None, kind: StageName) -> CheckpointRef | None:
        """Resolve initial weights; those that another run is about to train become a dependency."""
        if ref is None:
            return None
        path = _absolute(expand_user(ref))
        pending = next((folder for folder in (path, path / kind) if folder in self.expected), None)
        if pending is not None:
            self.needs.append(pending)
            if not (pending / "config.json").is_file():
                provides_tokenizer = kind == "model" and self.config.starts.tokenizer is None
                if kind in self.selected or provides_tokenizer:
                    self.problems.append(
                        f"{pending} is not trained yet, so the architecture is unknown: start this training when it is."
                    )
                return None
        return self._try(partial(resolve_checkpoint, ref, kind=kind))

    def _shape(self, stage: StageName, located: CheckpointRef | None) -> Config | None:
        if located is not None:
            return self._try(partial(read_config, located.folder, stage))
        return self._try(partial(self.config.architecture_of, stage))

    def _normalisation(self, tokenizer: CheckpointRef | None) -> Normalisation:
        """Normalisation of the tokenizer, or the configured one if it is trained from scratch."""
        configured = self.config.windows.normalisation
        recorded = None if tokenizer is None else self._try(partial(read_normalisation, tokenizer))
        if configured is not None and recorded is not None and configured != recorded:
            self.problems.append(
                f"windows.normalisation is {configured}, but the tokenizer expects {recorded}: remove the key, or "
                "train a tokenizer from scratch."
            )
        return recorded or configured or "spread"

    def _windows(self, normalisation: Normalisation, context: int) -> dict[str, int]:
        """Available samples by part; a part without samples is a problem."""
        data = self._try(partial(open_data, self.config, self.cache))
        if data is None:
            return {}
        self.skipped = data.store.unreadable
        from kronos.datasets.windows import WindowDataset

        available: dict[str, int] = {}
        settings, before = window_settings(self.config, normalisation), len(self.problems)
        for part in PARTS:
            dataset = self._try(partial(WindowDataset, data, part, settings))
            if dataset is not None:
                available[part] = dataset.available
        if len(available) < len(PARTS) and len(data.store) <= _FEW_CANDLES:
            advice = _smaller_windows(self.config, normalisation, context, self.cache)
            self.problems[before:before] = filter(None, [advice])
        return available

    def _stage(
        self, stage: StageName, start: CheckpointRef | None, shape: Config | None, windows: Mapping[str, int]
    ) -> StagePlan | None:
        settings = self._try(partial(self.config.settings, stage))
        if settings is None or shape is None:
            return None
        self._check_batch(stage, settings)
        return StagePlan(
            stage,
            settings,
            start,
            shape,
            self._trained(shape, stage),
            settings.steps(windows.get("train", 0)),
            is_done(self.folder, stage) and not self.restart,
        )

    def _trained(self, shape: Config, stage: StageName) -> int:
        """Number of trainable parameters; with LoRA approximately two factors per matrix of the attention."""
        lora = self.config.lora
        if lora is None or stage == "tokenizer":
            return count_parameters(shape, stage)
        targets = 4 if lora.targets is None else len(lora.targets)
        return (int(shape["n_layers"]) + 1) * targets * 2 * lora.rank * int(shape["d_model"])

    def _tokenizer(self, located: CheckpointRef | None, configured: str | None) -> str | None:
        """Name or folder of the tokenizer that the model is trained with."""
        if "tokenizer" in self.config.stages:
            own = result_folder(self.folder, "tokenizer")
            if "tokenizer" not in self.selected and not is_done(self.folder, "tokenizer"):
                self.problems.append(
                    f"The model needs its tokenizer, but {own} is not trained yet: train it first (--stage all, or "
                    "kronos train tokenizer)."
                )
            return str(own)
        if located is None:
            if configured is None and "model" in self.selected and not self.problems:
                self.problems.append("The model has no tokenizer: set start.tokenizer.")
            return configured
        return located.entry.name if located.entry is not None else str(located.folder)

    def _check_batch(self, stage: StageName, settings: TrainingArguments) -> None:
        processes = world_size()
        parts = settings.accumulation_steps * processes
        if settings.batch_size % parts:
            suffix = f" x {processes} processes" if processes > 1 else ""
            self.problems.append(
                f"A batch of {settings.batch_size} does not divide into {settings.accumulation_steps} accumulation "
                f"steps{suffix}: choose a multiple of {parts} as the {stage}'s batch_size."
            )

    def _check_sizes(self, shapes: Mapping[StageName, Config | None], context: int) -> None:
        tokenizer, model = shapes["tokenizer"], shapes["model"]
        if "model" in self.selected and tokenizer is not None and model is not None:
            bits = [tuple(int(shape[key]) for key in ("s1_bits", "s2_bits")) for shape in (tokenizer, model)]
            if bits[0] != bits[1]:
                first, second = (f"{s1} + {s2}" for s1, s2 in bits)
                self.problems.append(
                    f"The tokenizer's tokens have {first} bits, but the model's have {second}: choose a tokenizer and "
                    "a model that belong together."
                )
        total = self.config.windows.total
        if total > context:
            self.problems.append(
                f"A sample of {total:,} candles (lookback + predict) is longer than the context of {context:,}: reduce "
                "windows.lookback, or increase the context."
            )

    def check_folder(self) -> None:
        """Reject a folder that holds another training or something else.

        Only the first of several processes checks: it also writes there as soon as it has planned, and a slower
        process would mistake the incomplete first file for another's.
        """
        folder = self.folder
        if not is_first() or not folder.exists():
            return
        if not folder.is_dir():
            self.problems.append(f"{folder} is a file: choose another --name or --output.")
            return
        if not (folder / CONFIG).is_file():
            if any(path.name != LOCK for path in folder.iterdir()):
                self.problems.append(
                    f"{folder} has files that are not a training's: choose another --name or --output."
                )
            return
        if self.restart:
            return
        stored = self._try(partial(load_config, folder / CONFIG))
        differing = config_differences(stored, self.config) if stored is not None else []
        for stage in self.selected:
            record = self._try(partial(load_record, folder, stage))
            if record is not None and record.binding != self.config.identity(stage):
                differing.append(f"{stage} settings")
        if differing:
            self.problems.append(
                f"{folder} holds a training run with different {' and '.join(differing[:3])}: choose another --name, "
                "or delete it with --restart."
            )

    def _check_disk(self, plan: RunPlan) -> None:
        folder = next(path for path in (_absolute(self.folder), *_absolute(self.folder).parents) if path.exists())
        needed = DISK_MARGIN + sum(stage.disk for stage in plan.stages if not stage.done)
        free = shutil.disk_usage(folder).free
        if plan.stages and needed > free:
            self.problems.append(
                f"{folder} has {megabytes(free)} of free disk space, but this training needs {megabytes(needed)}: free "
                "some space, or choose another --output."
            )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (does not resolve links)
