import sys

import numpy as np
import pytest

from baselines.markets import garch_returns, make, market
from kronos.baselines import BASELINES, GarchFit, filtered_historical_simulation, fit_garch, garch_t
from kronos.errors import DataError, ParameterError

KNOWN = market(garch_returns(3000))


def archs(returns, asymmetric=0):
    from arch.univariate import GARCH, StudentsT, ZeroMean

    scale = 100.0  # ours scales otherwise: the maximum is the same
    model = ZeroMean(returns * scale, volatility=GARCH(1, asymmetric, 1), distribution=StudentsT(), rescale=False)
    return model.fit(disp="off"), scale


@pytest.mark.parametrize("asymmetric", [False, True])
def test_fit_equals_that_of_arch(asymmetric):
    returns = np.diff(np.log(KNOWN.frame["close"].to_numpy()[-1001:]))
    result, scale = archs(returns, int(asymmetric))
    fit = fit_garch(KNOWN, window=1000, asymmetric=asymmetric)
    names = ["omega", "alpha[1]", *(["gamma[1]"] if asymmetric else []), "beta[1]", "nu"]
    expected = [result.params[name] for name in names]
    found = [fit.omega * scale**2, fit.alpha, *([fit.gamma] if asymmetric else []), fit.beta, fit.nu]
    assert found == pytest.approx(expected, rel=0.02, abs=2e-3)
    assert (fit.returns, fit.converged, fit.notes) == (1000, True, ())


def test_fit_recovers_the_true_parameters():
    fit = fit_garch(KNOWN, window=2999)
    assert fit.alpha == pytest.approx(0.15, abs=0.05)
    assert fit.beta == pytest.approx(0.82, abs=0.06)
    assert fit.nu == pytest.approx(6, abs=2)


def test_volatility_equals_that_of_arch():
    past = KNOWN.tail(600)
    returns = np.diff(np.log(past.frame["close"].to_numpy()[-513:]))
    result, scale = archs(returns)
    omega, alpha, beta, nu = result.params
    fit = GarchFit(omega / scale**2, alpha, beta, nu)
    expected = np.sqrt(result.forecast(horizon=1, reindex=False).variance.to_numpy().item()) / scale
    assert garch_t(past, 2, parameters=fit).metadata.details["sigma"] == pytest.approx(expected, rel=1e-9)


def test_paths_have_the_moments_of_the_model():
    """Variance falls back to ω / (1 - α - β) as (α + β)ʰ does, and shocks have t's tails."""
    returns = garch_returns(600)
    returns[-3:] *= 4
    fit = GarchFit(0.01**2 * 0.1, 0.05, 0.85, 8.0)
    forecast = garch_t(market(returns), 12, samples=20_000, parameters=fit)
    now, mean = forecast.metadata.details["sigma"] ** 2, 0.01**2
    expected = mean + (now - mean) * 0.9 ** np.arange(12)
    steps = forecast.returns()
    assert steps.var(axis=0) == pytest.approx(expected, rel=0.08)
    assert abs(steps.mean()) < 4 * 0.02 / np.sqrt(steps.size)
    first = steps[:, 0] / np.sqrt(now)
    assert np.mean(abs(first) > 3) == pytest.approx(0.00854, abs=0.003)  # 2 P(t₈ > 3 √(8 / 6)); a normal's is .0027


def test_parameters_can_be_reused_at_later_origins():
    entry = BASELINES["garch-t"]
    assert entry.fit is not None
    earlier = entry.fit(KNOWN.head(1000))
    assert np.array_equal(
        entry(KNOWN.head(1000), 6, samples=9, parameters=earlier).paths, entry(KNOWN.head(1000), 6, samples=9).paths
    )
    later = entry(KNOWN.head(1010), 6, samples=9, parameters=earlier).metadata
    own = entry(KNOWN.head(1010), 6, samples=9).metadata
    assert later.details["fit"]["omega"] == earlier.omega != own.details["fit"]["omega"]
    assert later.details["sigma"] == pytest.approx(own.details["sigma"], rel=0.1)


def test_failed_fit_adds_a_note(monkeypatch):
    from arch.univariate import ZeroMean

    def fails(*arguments, **named):
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr(ZeroMean, "fit", fails)
    past = make()
    forecast = garch_t(past, 8, samples=50)
    assert any("fit to 199 returns failed" in note for note in forecast.notes)
    fit = forecast.metadata.details["fit"]
    assert (fit["converged"], fit["alpha"], fit["beta"], fit["nu"]) == (False, pytest.approx(0.06), 0.94, None)
    simulated = filtered_historical_simulation(past, 8, samples=50, filter="gjr")
    assert any("failed" in note for note in simulated.notes)


def test_other_starting_values_are_tried(monkeypatch):
    from arch.univariate import ZeroMean

    fit, starts = ZeroMean.fit, []

    def fails_at_first(self, *arguments, starting_values=None, **named):
        starts.append(starting_values)
        if len(starts) == 1:
            raise ValueError("no")
        return fit(self, *arguments, starting_values=starting_values, **named)

    monkeypatch.setattr(ZeroMean, "fit", fails_at_first)
    assert fit_garch(make(300)).converged
    assert starts[0] is None
    assert len(starts[1]) == 4


def test_missing_arch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch.univariate", None)
    with pytest.raises(ParameterError, match="pip install"):
        garch_t(make(), 3)
    assert filtered_historical_simulation(make(), 3, samples=5).samples == 5  # needs none


def test_short_histories_are_refused():
    with pytest.raises(DataError, match="at least 51"):
        garch_t(make(50), 3)
    with pytest.raises(DataError, match="at least 51"):
        fit_garch(make(50))
    with pytest.raises(DataError, match="at least 51"):
        garch_t(make(300), 3, window=20)
