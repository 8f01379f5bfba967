"""What a training will do, known before it does any of it: stages, samples, steps, room on the disk, and what is wrong.

plan = make_plan(load_config("finetune_csv"))
plan.check()   # errors before the first step, not after an hour
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from kronos.atomic import expand_user
from kronos.datasets.config import STAGES, Split, StageName
from kronos.datasets.splits import SplitDates, read_split_dates
from kronos.errors import KronosError, ParameterError
from kronos.training.config import TrainConfig, TrainingArguments, load_config
from kronos.training.run_folder import CONFIG, is_done, read_record, result_folder
from kronos.training.torchrun import is_first, world_size
from kronos.zoo import (
    CheckpointRef,
    Config,
    Normalisation,
    count_parameters,
    normalisation_of,
    read_config,
    read_pairing,
    resolve_checkpoint,
)

if TYPE_CHECKING:
    from kronos.datasets.training_data import TrainingData, WindowSettings

PartName = Literal["train", "val", "test"]
PARTS: tuple[PartName, ...] = ("train", "val", "test")
MARGIN = 20 * 2**20  # bytes of logs, curves, the report
_FLOAT = 4  # bytes of a weight


@dataclass(frozen=True)
class StagePlan:
    """One network's training.

    Attributes:
        stage: Which network.
        settings: How it is trained.
        start: The weights it starts from; None for new ones.
        shape: Its architecture.
        trained: Numbers of it that change.
        steps_per_epoch: Steps of a pass.
        done: Whether an earlier run has finished it.
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
        """Numbers of the network."""
        return count_parameters(self.shape, self.stage)

    @property
    def steps(self) -> int:
        """Steps at most."""
        return self.steps_per_epoch * self.settings.epochs

    @property
    def disk(self) -> int:
        """Bytes that it needs: two states to resume from (weights, two moments, averages), the best weights, a copy."""
        averages = self.trained if self.settings.ema is not None else 0
        return _FLOAT * (2 * (self.parameters + 2 * self.trained + averages) + 2 * self.parameters)


@dataclass(frozen=True)
class RunPlan:
    """One configuration's training.

    Attributes:
        config: What was asked for.
        folder: Where everything goes.
        stages: What is to be trained, in this order; of one that something is wrong with those that could be planned.
        windows: Samples that each part has to offer; empty if the candles cannot be used.
        normalisation: How candles are normalised.
        context: The longest window that the model will be used with.
        tokenizer: What the model is trained with: a name or a folder, perhaps one that is yet to be trained.
        needs: Networks of other runs that have to be trained before.
        problems: What is wrong, each one sentence.
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

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.config.model_name

    @property
    def disk(self) -> int:
        """Bytes that all stages need."""
        return MARGIN + sum(one.disk for one in self.stages)

    def check(self) -> None:
        """Refuse what cannot end well.

        Raises:
            ParameterError: The first thing that is wrong, and how many more there are.
        """
        if self.problems:
            more = len(self.problems) - 1
            also = f" ({more} more with --dry-run)" if more else ""
            raise ParameterError(f"{self.name}: {self.problems[0].rstrip('.')}{also}.")

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
            "needs": [str(one) for one in self.needs],
            "stages": [
                {
                    "stage": one.stage,
                    "start": one.start.ref if one.start is not None else None,
                    "parameters": one.parameters,
                    "trained": one.trained,
                    "epochs": one.settings.epochs,
                    "steps_per_epoch": one.steps_per_epoch,
                    "steps": one.steps,
                    "done": one.done,
                    "disk_bytes": one.disk,
                    "settings": one.settings.model_dump(mode="json"),
                }
                for one in self.stages
            ],
            "disk_bytes": self.disk,
            "problems": list(self.problems),
        }


_CONTEXT = 512  # of a model that is trained from nothing, where nobody tells

Value = TypeVar("Value")


def make_plan(
    config: TrainConfig, *, stages: Sequence[StageName] | None = None, made: Sequence[Path] = (), restart: bool = False
) -> RunPlan:
    """Look at everything that a training needs, and say what is wrong with it.

    Args:
        config: What is asked for.
        stages: Those of its stages to do; None for all.
        made: Folders of networks that other runs will have trained by then.
        restart: Whether what an earlier run has left there will be forgotten.
    """
    return _Planner(config, tuple(stages or config.stages), tuple(made), restart).plan()


def window_settings(config: TrainConfig, normalisation: Normalisation) -> WindowSettings:
    """How samples are cut, for `WindowDataset`."""
    from kronos.datasets.training_data import WindowSettings

    return WindowSettings(**(config.windows.model_dump() | {"normalisation": normalisation}))


def open_data(config: TrainConfig) -> TrainingData:
    """The candles of a training, split.

    Raises:
        KronosError: If they cannot be used.
    """
    from kronos.datasets.training_data import open_training_data

    split: Split | SplitDates = config.split
    if config.split.file is not None:
        split = replace(read_split_dates(expand_user(config.split.file)), embargo=config.split.embargo)
    return open_training_data(
        config.data,
        split=split,
        windows=config.windows,
        quality=config.quality,
    )


class _Planner:
    """Gathers what is known and what is wrong; nothing that is wrong hides what else is."""

    def __init__(
        self, config: TrainConfig, stages: tuple[StageName, ...], made: tuple[Path, ...], restart: bool
    ) -> None:
        self.config, self.wanted, self.restart = config, stages, restart
        self.folder = config.folder
        self.made = {_absolute(one) for one in made}
        self.problems: list[str] = []
        self.needs: list[Path] = []

    def plan(self) -> RunPlan:
        starts = self.config.starts
        located = {stage: self._located(getattr(starts, stage), stage) for stage in STAGES}
        pairing = self._try(partial(read_pairing, located["model"])) if located["model"] is not None else None
        if starts.tokenizer is None and pairing is not None and not self.config.scratch("tokenizer"):
            known = located["model"].entry if located["model"] is not None else None
            partner = known.tokenizer if known is not None else None
            located["tokenizer"] = self._located(partner or pairing.tokenizer, "tokenizer")
        shapes = {stage: self._shape(stage, located[stage]) for stage in STAGES}
        normalisation = self._normalisation(located["tokenizer"])
        context = self.config.context or (pairing.context if pairing is not None else _CONTEXT)
        windows = self._windows(normalisation)
        stages = [
            self._stage(stage, located[stage], shapes[stage], windows) for stage in STAGES if stage in self.wanted
        ]
        self._check_sizes(shapes, context)
        self._check_folder()
        plan = RunPlan(
            self.config,
            self.folder,
            tuple(one for one in stages if one is not None),
            windows,
            normalisation,
            context,
            self._tokenizer(located["tokenizer"], starts.tokenizer),
            tuple(dict.fromkeys(self.needs)),
            (),
        )
        self._check_disk(plan)
        return RunPlan(**{**vars(plan), "problems": tuple(dict.fromkeys(self.problems))})

    def _try(self, call: Callable[[], Value]) -> Value | None:
        """What a call gives, or None and its sentence among the problems."""
        try:
            return call()
        except KronosError as error:
            self.problems.append(str(error))
            return None

    def _located(self, ref: str | None, kind: StageName) -> CheckpointRef | None:
        """Weights that are named; those that another run is about to make are waited for."""
        if ref is None:
            return None
        place = _absolute(expand_user(ref))
        waited = next((one for one in (place, place / kind) if one in self.made), None)
        if waited is not None:
            self.needs.append(waited)
            if not (waited / "config.json").is_file():
                partner = kind == "model" and self.config.starts.tokenizer is None  # whose tokenizer is meant
                if kind in self.wanted or partner:
                    self.problems.append(
                        f"{waited} is yet to be trained, so that nothing tells the shape of what starts from it; start "
                        f"this training once it is there."
                    )
                return None
        return self._try(partial(resolve_checkpoint, ref, kind=kind))

    def _shape(self, stage: StageName, located: CheckpointRef | None) -> Config | None:
        if located is not None:
            return self._try(partial(read_config, located.folder, stage))
        return self._try(partial(self.config.shape, stage))

    def _normalisation(self, tokenizer: CheckpointRef | None) -> Normalisation:
        """As the tokenizer knows candles, or as asked where it is trained from nothing."""
        asked = self.config.windows.normalisation
        known = None if tokenizer is None else self._try(partial(normalisation_of, tokenizer))
        if asked is not None and known is not None and asked != known:
            self.problems.append(
                f"windows.normalisation is {asked}, but the tokenizer knows candles as {known}; leave it out, or train "
                f"a tokenizer from scratch."
            )
        return known or asked or "spread"

    def _windows(self, normalisation: Normalisation) -> dict[str, int]:
        """How many samples each part has; every part that has none is a problem."""
        data = self._try(partial(open_data, self.config))
        if data is None:
            return {}
        from kronos.datasets.windows import WindowDataset

        found: dict[str, int] = {}
        settings = window_settings(self.config, normalisation)
        for part in PARTS:
            made = self._try(partial(WindowDataset, data, part, settings))
            if made is not None:
                found[part] = made.available
        return found

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
        """Numbers that change; of LoRA about two thin factors a matrix of the attention."""
        lora = self.config.lora
        if lora is None or stage == "tokenizer":
            return count_parameters(shape, stage)
        targets = 4 if lora.targets is None else len(lora.targets)
        return (int(shape["n_layers"]) + 1) * targets * 2 * lora.rank * int(shape["d_model"])

    def _tokenizer(self, located: CheckpointRef | None, named: str | None) -> str | None:
        """What the model is trained with."""
        if "tokenizer" in self.config.stages:
            own = result_folder(self.folder, "tokenizer")
            if "tokenizer" not in self.wanted and not is_done(self.folder, "tokenizer"):
                self.problems.append(
                    f"The model needs its tokenizer, which {own} does not hold; train it first (--stage all, or kronos "
                    f"train tokenizer)."
                )
            return str(own)
        if located is None:
            if named is None and "model" in self.wanted and not self.problems:
                self.problems.append(
                    "Nothing tells which tokenizer the model reads through; name it as start.tokenizer."
                )
            return named
        return located.entry.name if located.entry is not None else str(located.folder)

    def _check_batch(self, stage: StageName, settings: TrainingArguments) -> None:
        processes = world_size()
        parts = settings.accumulation_steps * processes
        if settings.batch_size % parts:
            many = f" x {processes} processes" if processes > 1 else ""
            self.problems.append(
                f"A batch of {settings.batch_size} does not divide into {settings.accumulation_steps} "
                f"accumulation steps{many}; choose a multiple of {parts} as the {stage}'s batch_size."
            )

    def _check_sizes(self, shapes: Mapping[StageName, Config | None], context: int) -> None:
        tokenizer, model = shapes["tokenizer"], shapes["model"]
        if "model" in self.wanted and tokenizer is not None and model is not None:
            bits = [tuple(int(one[key]) for key in ("s1_bits", "s2_bits")) for one in (tokenizer, model)]
            if bits[0] != bits[1]:
                first, second = (f"{s1} + {s2}" for s1, s2 in bits)
                self.problems.append(
                    f"The tokenizer makes tokens of {first} bits, but the model reads {second}; choose a tokenizer and "
                    f"a model that belong together."
                )
        total = self.config.windows.total
        if total > context:
            self.problems.append(
                f"A sample of {total:,} candles (lookback + predict) is longer than the context of {context:,}; make "
                f"windows.lookback smaller, or the context larger."
            )

    def _check_folder(self) -> None:
        """Refuse a folder in which another training lies, or something else.

        Of several processes the first alone looks, for all of them: it also writes there, as soon as it has planned,
        and a slower one would take its first file, half written, for a stranger's.
        """
        place = self.folder
        if not is_first() or not place.exists():
            return
        if not place.is_dir():
            self.problems.append(f"{place} is a file; choose another --name or --output.")
            return
        if not (place / CONFIG).is_file():
            if any(place.iterdir()):
                self.problems.append(
                    f"{place} holds something that is no training's; choose another --name or --output."
                )
            return
        if self.restart:
            return
        other = self._try(partial(load_config, place / CONFIG))
        differs = differences(other, self.config) if other is not None else []
        for stage in self.wanted:
            done = self._try(partial(read_record, place, stage))
            if done is not None and done.binding != self.config.binding(stage):
                differs.append(f"{stage} settings")
        if differs:
            self.problems.append(
                f"{place} holds a training with other {' and '.join(differs[:3])}; choose another --name, or forget it "
                f"with --restart."
            )

    def _check_disk(self, plan: RunPlan) -> None:
        place = next(one for one in (_absolute(self.folder), *_absolute(self.folder).parents) if one.exists())
        needed = MARGIN + sum(one.disk for one in plan.stages if not one.done)
        free = shutil.disk_usage(place).free
        if plan.stages and needed > free:
            self.problems.append(
                f"{place} has {_megabytes(free)} free, but this training needs {_megabytes(needed)}; free some space, "
                f"or choose another --output."
            )


def differences(one: TrainConfig, other: TrainConfig) -> list[str]:
    """Keys by which two trainings differ in what all of their stages share."""
    kept = {"data", "windows", "split", "quality", "start", "architecture", "context"}
    first, second = (config.model_dump(mode="json", include=kept) for config in (one, other))
    return [name for name in first if first[name] != second[name]]


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (links are as they are named)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


__all__ = ["PARTS", "RunPlan", "StagePlan", "differences", "make_plan", "open_data", "window_settings"]
