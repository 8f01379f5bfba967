"""The numbers that a training loop needs, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kronos.datasets.complaints import sentence
from kronos.errors import ParameterError

StageName = Literal["tokenizer", "model"]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]

MOST_STEPS = 2000  # of an epoch whose length is not said

# What was published for fine-tuning; the rest is the same for both.
_PUBLISHED: Mapping[StageName, Mapping[str, Any]] = {
    "tokenizer": {"learning_rate": 2e-4, "betas": (0.9, 0.999), "gradient_clip": 2.0},
    "model": {"learning_rate": 4e-5, "betas": (0.9, 0.95), "gradient_clip": 3.0},
}
# Where, when and how often things are written changes no weight: a run may go on with others. The number of
# processes is no setting, and may change too.
_FREE = ("device", "threads", "compile", "checkpoint_minutes", "log_steps")


class StageSettings(BaseModel):
    """How one network is trained.

    Attributes:
        batch_size: Samples a step, over all processes and micro-batches.
        accumulation_steps: Micro-batches of a step, whose gradients are added up before the weights change.
        learning_rate: Its peak.
        epochs: Passes at most.
        steps_per_epoch: Steps of a pass; None for as many as there are different windows for, at most 2000.
        validation_batches: Batches of validation at most.
        weight_decay: Of AdamW; of matrices alone, not of biases and norms.
        betas: Of AdamW. With ``onecycle`` the first goes from 0.05 more to 0.05 less and back, against the rate, as in
            the published training.
        gradient_clip: Largest norm of a step's gradient; None for any.
        schedule: ``onecycle``: from a tenth of the peak up in 3 % of the steps and down to nothing, as published.
            ``cosine``: from a tenth linearly up, then a half cosine down. ``constant``: the peak all the time.
        warmup: Share of the steps in which the rate of ``cosine`` rises.
        final: Share of the peak at which ``cosine`` ends.
        precision: ``float32``, ``bfloat16`` (matrix products only: weights and losses stay in float32), or ``auto``:
            bfloat16 where the hardware multiplies it natively and the network is wide enough to gain from it.
        patience: Epochs without a better validation after which to stop; None for never.
        seed: Of the dropout.
        ema: Decay of averaged weights, which are then the ones validated and saved; None for the weights themselves.
        compile: Whether to compile the blocks: minutes at first, faster steps afterwards.
        device: ``cpu``, ``cuda:1``; None for the best there is, and in a group of processes for each its own.
        threads: Of the processor; None leaves them as they are.
        checkpoint_minutes: Minutes between the states that a resume goes on from; an epoch's end has one anyway.
        log_steps: Steps between reports to the monitors.
        minutes: Minutes of training after which to end; the rate follows whichever runs out first, steps or minutes.
            Such a run depends on the machine's speed: it cannot be repeated, nor resumed, bit for bit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: Annotated[float, Field(gt=0, lt=1)]
    batch_size: Count = 50
    accumulation_steps: Count = 1
    epochs: Count = 30
    steps_per_epoch: Count | None = None
    validation_batches: Count = 400
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.1
    betas: tuple[Share, Share] = (0.9, 0.95)
    gradient_clip: Positive | None = 3.0
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    final: Annotated[float, Field(ge=0, le=1)] = 0.01
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    patience: Count | None = None
    seed: Annotated[int, Field(ge=0)] = 100
    ema: Share | None = None
    compile: bool = False
    device: str | None = None
    threads: Count | None = None
    checkpoint_minutes: Positive = 5.0
    log_steps: Count = 10
    minutes: Positive | None = None

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"a batch_size of {self.batch_size} is no multiple of {self.accumulation_steps} accumulation_steps"
            )
        return self

    @classmethod
    def of(cls, stage: StageName, changes: Mapping[str, Any] | None = None, origin: str = "The settings") -> Self:
        """The published settings of a stage, with changes.

        Args:
            stage: ``tokenizer`` or ``model``.
            changes: Values by name; those left out are as published.
            origin: What to call the changes in messages, a file's name.

        Raises:
            ParameterError: If there is no such setting, or a value is out of its range.
        """
        if stage not in _PUBLISHED:
            raise ParameterError(f"A stage is 'tokenizer' or 'model', not '{stage}'.")
        try:
            return cls.model_validate({**_PUBLISHED[stage], **(changes or {})})
        except ValidationError as error:
            raise ParameterError(sentence(error, origin, cls)) from None

    def steps(self, available: int) -> int:
        """Steps of an epoch.

        Args:
            available: How many different windows there are to train on.
        """
        return self.steps_per_epoch or min(MOST_STEPS, max(1, available // self.batch_size))

    def samples(self, available: int) -> int:
        """Samples of an epoch, which is what a training set has to give; ``available`` as in `steps`."""
        return self.steps(available) * self.batch_size

    def binding(self) -> dict[str, Any]:
        """What decides on the weights, fit for JSON: a run goes on with nothing else."""
        return self.model_dump(mode="json", exclude=set(_FREE))
