"""GARCH(1,1) baseline with Student's t, fitted by arch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from kronos.baselines.base import check_arguments, ignore_overflow, safe_divide, to_forecast
from kronos.baselines.candle_shapes import SHAPES, CandleShapes, pick_positions, random_numbers
from kronos.baselines.volatility import RISKMETRICS, VarianceRecursion
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, log_returns
from kronos.typing import FloatArray

_MIN_RETURNS = 50  # for five parameters
_START = (0.05, 0.05, 0.9, 8.0)  # ω, α, β, ν for returns of variance 1, tried if arch's own starting values fail


@dataclass(frozen=True)
class GarchFit:
    """Parameters of a GARCH model, usable at later origins of the same series.

    Attributes:
        omega: ω, in squared log returns.
        alpha: α, weight of the previous squared return.
        beta: β, weight of the previous variance.
        nu: Degrees of freedom of the shocks' Student's t (scaled to variance 1); None for normal shocks.
        gamma: γ, additional weight of the previous squared return if negative; 0 except for GJR.
        returns: Number of returns that it was fitted to.
        converged: Whether the fit converged; if not, the parameters are those of RiskMetrics with normal shocks.
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
        """Recursion of the variance."""
        return VarianceRecursion(self.omega, self.alpha, self.beta, self.gamma)

    @property
    def notes(self) -> tuple[str, ...]:
        """A note if the fit failed."""
        failed = (
            f"The GARCH fit to {self.returns} returns failed: RiskMetrics' EWMA with normal shocks is used instead."
        )
        return () if self.converged else (failed,)


def fit_garch(candles: Candles, *, window: int = 512, asymmetric: bool = False) -> GarchFit:
    """Fit GARCH(1,1) (Bollerslev 1986) with Student's t (Bollerslev 1987) and mean 0 to recent log returns.

    Maximum likelihood by arch. If its starting values fail, others are tried once; if these fail too, the result is
    RiskMetrics' moving average with ``converged`` false.

    Args:
        candles: The history.
        window: Number of returns to fit to.
        asymmetric: Fit GJR (Glosten, Jagannathan & Runkle 1993), in which falls have more weight.

    Returns:
        The parameters for `garch_t` or `filtered_historical_simulation`, at this or later origins.

    Raises:
        ParameterError: If arch is not installed.
        DataError: If there are fewer than 51 candles, or the prices are constant.
    """
    returns = log_returns(candles.frame["close"].iloc[-window - 1 :].to_numpy())
    if len(returns) < _MIN_RETURNS:
        raise DataError(f"A GARCH fit needs at least {_MIN_RETURNS + 1} candles of history; got {len(returns) + 1}.")
    scale = float(np.sqrt(np.square(returns).mean()))
    if not scale > 0:
        raise DataError(f"A GARCH fit needs varying prices: the last {len(returns) + 1} closes are equal.")
    start = np.array([*_START[:2], *([0.0] if asymmetric else []), *_START[2:]])
    estimates = _maximise_likelihood(returns / scale, asymmetric, None)
    if estimates is None:
        estimates = _maximise_likelihood(returns / scale, asymmetric, start)
    if estimates is None:
        return GarchFit(0.0, 1 - RISKMETRICS, RISKMETRICS, None, returns=len(returns), converged=False)
    omega, alpha, *gamma, beta, nu = estimates
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
    """Forecast with GARCH(1,1) and Student's t, without drift.

    Each path has its own variance; shocks are quantiles of t at the levels of the normal numbers that
    `historical_volatility` uses for the same seed. If the fit failed, there is a note and ``converged`` is false under
    ``fit`` in `ForecastMetadata.details`. Needs 51 candles.

    Arguments besides those of `Baseline`:

    - ``window``: Number of returns to fit to and to run the recursion over; shapes are those of its last 64 candles.
    - ``parameters``: Result of `fit_garch` at this or an earlier origin, to use instead of a new fit.
    """
    check_arguments(candles, horizon, samples, min_candles=_MIN_RETURNS + 1, seed=seed, window=window)
    fit = parameters or fit_garch(candles, window=window)
    values = candles.frame.iloc[-window - 1 :].to_numpy()
    recent = CandleShapes.of(values[-SHAPES - 1 :])
    used = len(recent.returns)
    normals, uniforms = random_numbers(seed, samples, horizon)
    donors = pick_positions(uniforms, used)
    with ignore_overflow():
        sigmas = fit.recursion.volatility(log_returns(values[:, 3]))
        returns, sigma = fit.recursion.simulate(sigmas, _student(normals, fit.nu))
        paths = recent.continue_by(returns, donors, safe_divide(sigma, sigmas[-used - 1 : -1][donors]))
    details = {"seed": seed, "window": window, "sigma": float(sigmas[-1]), "fit": asdict(fit)}
    return to_forecast(paths, candles, timestamps, "garch-t", details, fit.notes)


def _maximise_likelihood(returns: FloatArray, asymmetric: bool, start: FloatArray | None) -> list[float] | None:
    """Estimate ω, α, (γ,) β, ν from returns of mean square 1; None if the fit fails."""
    try:
        from arch.univariate import GARCH, StudentsT, ZeroMean
    except ImportError:
        raise ParameterError("GARCH needs arch: install it with pip install 'kronos-forecast[evaluation]'.") from None
    model = ZeroMean(returns, volatility=GARCH(1, int(asymmetric), 1), distribution=StudentsT(), rescale=False)
    with np.errstate(all="ignore"):
        try:
            result = model.fit(disp="off", show_warning=False, update_freq=0, starting_values=start)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            return None
    estimates = [float(value) for value in result.params]
    valid = result.convergence_flag == 0 and all(math.isfinite(value) for value in estimates) and estimates[0] >= 0
    return estimates if valid else None


def _student(normals: FloatArray, nu: float | None) -> FloatArray:
    """Map normal numbers to quantiles of Student's t scaled to variance 1; unchanged if ``nu`` is None."""
    from scipy.special import ndtr, stdtrit

    if nu is None:
        return normals
    tails = stdtrit(nu, ndtr(-np.abs(normals)))  # the lower tail is more precise
    shocks: FloatArray = np.copysign(tails, normals) * math.sqrt((nu - 2) / nu)
    return shocks
