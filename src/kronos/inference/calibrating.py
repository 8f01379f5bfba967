"""Which calibration a caller means, and that it is the one of this model: before anything is decoded."""

from __future__ import annotations

from pathlib import Path

from kronos.calibration import Calibration, Identity
from kronos.errors import ParameterError
from kronos.inference.making import sampling_details, title, weights
from kronos.inference.sampling import SamplingParams
from kronos.nn import Kronos, KronosTokenizer

Choice = Calibration | str | Path | bool | None
_FIT = "fit one with 'kronos calibrate'"


def choose_calibration(
    choice: Choice, model: Kronos, tokenizer: KronosTokenizer, sampling: SamplingParams
) -> Calibration | None:
    """The calibration meant, if it corrects what this model and this sampling get wrong.

    Args:
        choice: None or False for none, True for the one that lies beside the model's weights, a calibration, or a file.
        model: Whose forecasts it shall correct.
        tokenizer: That goes with it.
        sampling: How paths are drawn.

    Raises:
        ParameterError: If the model has none of its own, or the one meant belongs to other forecasts.
        DataError: If the file is missing or no calibration.
    """
    if choice is None or choice is False:
        return None
    if choice is True:
        calibration = _own(model)
    elif isinstance(choice, Calibration):
        calibration = choice
    elif isinstance(choice, str | Path):
        calibration = Calibration.load(choice)
    else:
        raise ParameterError(f"calibration is True, a Calibration or a file's path, not {type(choice).__name__}.")
    _check(calibration, identity_of(model, tokenizer, sampling))
    return calibration


def identity_of(model: Kronos, tokenizer: KronosTokenizer, sampling: SamplingParams) -> Identity:
    """What a calibration of these forecasts remembers of their maker."""
    return Identity(
        model=title(model),
        sha256=weights(model).get("sha256"),
        tokenizer_sha256=weights(tokenizer).get("sha256"),
        sampling=sampling_details(sampling),
    )


def _own(model: Kronos) -> Calibration:
    """The calibration beside the weights."""
    if model.located is None or not model.unchanged:
        state = "was never saved" if model.located is None else "has changed since it was loaded"
        raise ParameterError(
            f"The model {state}, so no calibration ships with it; {_FIT}, and pass it or its path as calibration."
        )
    if model.located.calibration is None:
        raise ParameterError(
            f"No calibration ships with {title(model)}; {_FIT}, and pass it or its path as calibration, or save it as "
            f"calibration.json in {model.located.folder}."
        )
    return Calibration.load(model.located.calibration)


def _check(calibration: Calibration, identity: Identity) -> None:
    difference = calibration.identity.differs(identity)
    if not difference and calibration.identity.tokenizer_sha256 and not identity.tokenizer_sha256:
        difference = "tokenizers differ (this one was never saved, or has changed since it was loaded)"
    if difference:
        raise ParameterError(
            f"The calibration is not these forecasts': their {difference}; {_FIT}, or apply it all the same with "
            "Calibration.apply(forecast, other_model=True)."
        )
