"""GARCH(1,1) with Student's t: the volatility model that others are measured by, fitted by arch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kronos.baselines.base import check, check_draws, ignoring_overflow, safe_divide, to_forecast
from kronos.baselines.candle_shapes import CandleShapes, draw, pick
from kronos.baselines.volatility import RISKMETRICS, VarianceRecursion
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray

_LEAST = 50  # returns for five parameters
_START = (0.05, 0.05, 0.9, 8.0)  # ω, α, β, ν tried where arch's own starting values fail; returns of variance 1
_SHAPES = 64  # recent candles to take shapes from


@dataclass(frozen=True)
class GarchFit:
    """Parameters of a variance recursion and of its shocks, good for later origins of the same series too.

    Attributes:
        omega: ω, in squared log returns.
        alpha: α, on the squared return before.
        beta: β, on the variance before.
        nu: Degrees of freedom of the shocks' Student's t (scaled to variance 1); None if they are normal.
        gamma: γ, further weight on the squared return before if it was negative; 0 but for GJR.
        returns: How many returns it was fitted to.
        converged: Whether the fit did; if not, the parameters are RiskMetrics' and the shocks normal.
    """

    omega: float
    alpha: float
    beta: float
    nu: float | None
    gamma: float = 0.0
    returns: int = 0
    converged: bool = True

    @property
    def recursion(self) -> VarianceRecursion:
        """How the variance moves."""
        return VarianceRecursion(self.omega, self.alpha, self.beta, self.gamma)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence if the fit failed."""
        failed = f"The GARCH fit to {self.returns} returns failed; it is RiskMetrics' EWMA with normal shocks instead."
        return () if self.converged else (failed,)


def fit_garch(candles: Candles, *, window: int = 512, asymmetric: bool = False) -> GarchFit:
    """Fit GARCH(1,1) (Bollerslev 1986) with Student's t (Bollerslev 1987) and mean 0 to the last log returns.

    Maximum likelihood by arch. Where its starting values lead nowhere, others are tried once; where these fail
    too, the result is RiskMetrics' moving average and says so in ``converged``.

    Args:
        candles: The history.
        window: Number of returns to fit to.
        asymmetric: Fit GJR (Glosten, Jagannathan & Runkle 1993), in which falls weigh more.

    Returns:
        The parameters, for `garch_t` or `filtered_historical_simulation`, here or at later origins.

    Raises:
        ParameterError: If arch is not installed.
        DataError: If there are fewer than 51 candles, or the prices never move.
    """
    returns = np.diff(np.log(candles.frame["close"].iloc[-window - 1 :].to_numpy()))
    if len(returns) < _LEAST:
        raise DataError(f"A GARCH fit needs at least {_LEAST + 1} candles of history, not {len(returns) + 1}.")
    scale = float(np.sqrt(np.square(returns).mean()))
    if not scale > 0:
        raise DataError(f"A GARCH fit needs prices that move; the last {len(returns) + 1} closes are all the same.")
    start = np.array([*_START[:2], *([0.0] if asymmetric else []), *_START[2:]])
    found = _maximum(returns / scale, asymmetric, None)
    if found is None:
        found = _maximum(returns / scale, asymmetric, start)
    if found is None:
        return GarchFit(0.0, 1 - RISKMETRICS, RISKMETRICS, None, returns=len(returns), converged=False)
    omega, alpha, *gamma, beta, nu = found
    return GarchFit(omega * scale**2, alpha, beta, nu, gamma[0] if gamma else 0.0, len(returns))


def garch_t(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 512,
    parameters: GarchFit | None = None,
) -> Forecast:
    """GARCH(1,1) with Student's t: volatility falls back to its mean, and a large move makes the next larger.

    The close has no drift. Each path runs its own variance along; shocks are quantiles of t at the levels of the
    normal numbers that `historical_volatility` draws for the same seed.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        window: Number of returns to fit to and to run the variance over; shapes are those of its last 64 candles.
        parameters: Of `fit_garch` at this or an earlier origin: the variance is then run over the window, and
            nothing fitted.

    Returns:
        A forecast of S different paths; if the fit failed, its notes say so and `Made.details` has
        ``converged`` false under ``fit``.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, or ``seed`` negative; if arch
            is not installed.
        DataError: If there are fewer than 51 candles, prices never move, or they leave the range of numbers.
    """
    check(candles, horizon, samples, least=_LEAST + 1)
    check_draws(seed, window)
    fit = parameters or fit_garch(candles, window=window)
    values = candles.frame.iloc[-window - 1 :].to_numpy()
    recent = CandleShapes.of(values[-_SHAPES - 1 :])
    used = len(recent.returns)
    normals, uniforms = draw(seed, samples, horizon)
    donors = pick(uniforms, used)
    with ignoring_overflow():
        sigmas = fit.recursion.volatility(np.diff(np.log(values[:, 3])))
        returns, sigma = fit.recursion.simulate(sigmas, _student(normals, fit.nu))
        paths = recent.continue_by(returns, donors, safe_divide(sigma, sigmas[-used - 1 : -1][donors]))
    details = {"seed": seed, "window": window, "sigma": float(sigmas[-1]), "fit": asdict(fit)}
    return to_forecast(paths, candles, timestamps, "garch-t", details, fit.notes)


def _maximum(returns: FloatArray, asymmetric: bool, start: FloatArray | None) -> list[float] | None:
    """Estimates ω, α, (γ,) β, ν for returns of mean square 1; None if they are none."""
    try:
        from arch.univariate import GARCH, StudentsT, ZeroMean
    except ImportError:
        raise ParameterError("GARCH needs arch; install it with pip install 'kronos[evaluation]'.") from None
    model = ZeroMean(returns, volatility=GARCH(1, int(asymmetric), 1), distribution=StudentsT(), rescale=False)
    with np.errstate(all="ignore"):
        try:
            result = model.fit(disp="off", show_warning=False, update_freq=0, starting_values=start)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            return None
    found = [float(value) for value in result.params]
    usable = result.convergence_flag == 0 and all(math.isfinite(value) for value in found) and found[0] >= 0
    return found if usable else None


def _student(normals: FloatArray, nu: float | None) -> FloatArray:
    """Quantiles of Student's t scaled to variance 1, at the levels of normal numbers, which stay if ``nu`` is None."""
    from scipy.special import ndtr, stdtrit

    if nu is None:
        return normals
    tails = stdtrit(nu, ndtr(-np.abs(normals)))  # from the lower tail, which keeps its digits
    shocks: FloatArray = np.copysign(tails, normals) * math.sqrt((nu - 2) / nu)
    return shocks
