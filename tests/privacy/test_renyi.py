"""The accountant of distributed noise: hand-worked values, and the true loss below it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from fedrec.errors import CheckpointError
from fedrec.privacy.calibrate import epsilon_of, noise_for
from fedrec.privacy.ledger import Event, Ledger
from fedrec.privacy.renyi import (
    ORDERS,
    epsilon_from,
    skellam_epsilon,
    skellam_rdp,
    taking_part,
)
from fedrec.privacy.skellam import reach

FINE = 65536.0


def test_a_round_by_hand() -> None:
    """z = 2, D2 = 10, order 4: mu = 400; 4 * 100 / 800 + min((7 + 6) * 100 / 640000, 300 / 800)."""
    assert skellam_rdp(4, 2.0, 10.0) == pytest.approx(0.5 + 13 * 100 / 640_000)
    # one step and hardly any noise: the other branch, 3 D1 / (2 mu), with mu = 1/4
    assert skellam_rdp(2, 0.5, 1.0) == pytest.approx(2 / 0.5 + 3 / 0.5)


def test_epsilon_by_hand() -> None:
    """Order 10 alone: 0.3 + log(9/10) - log(1e-5 * 10) / 9."""
    expected = 0.3 + math.log(0.9) - math.log(1e-4) / 9
    assert epsilon_from([(10, 0.3)], 1e-5) == pytest.approx(expected)
    assert epsilon_from([(2, 0.0)], 0.9) == 0.0


def test_taking_part_by_hand() -> None:
    """q = 1/4, order 3, R = 0.2: log(3/4 + exp(0.4) / 4) / 2."""
    assert taking_part(3, 0.2, 0.25) == pytest.approx(math.log(0.75 + math.exp(0.4) / 4) / 2)
    assert taking_part(3, 0.2, 1.0) == 0.2
    for rate in (0.01, 0.5, 0.99):  # one formula for large values, continued without a jump
        assert taking_part(2, 699.999, rate) == pytest.approx(taking_part(2, 700.001, rate), 1e-5)
        assert rate * 0.2 < taking_part(3, 0.2, rate) < 0.2


def log_pmf(variance: float, edge: int) -> np.ndarray:
    """Of Skellam at -edge..edge, by the recurrence in logarithms."""
    logs = np.full(edge + 81, -np.inf)
    logs[-2] = 0.0
    for k in range(len(logs) - 2, 0, -1):
        logs[k - 1] = np.logaddexp(logs[k + 1], math.log(2 * k / variance) + logs[k])
    logs -= np.logaddexp(logs[0], math.log(2) + logsumexp(logs[1:]))
    return logs[np.abs(np.arange(-edge, edge + 1))]


@pytest.mark.parametrize("variance", [0.5, 4.0, 60.0, 900.0])
@pytest.mark.parametrize("shift", [1, 3, 10])
def test_the_true_divergence_is_below_the_bound(variance: float, shift: int) -> None:
    """One dimension, by summation: Skellam against the same, moved by the sensitivity."""
    edge = reach(variance, 300.0) + 64 * shift
    logs = log_pmf(variance, edge)
    p, q = logs[shift:], logs[: len(logs) - shift]
    noise, steps = math.sqrt(variance) / shift, float(shift)
    for order in (2, 3, 8, 32, 64):
        true = logsumexp(order * p + (1 - order) * q) / (order - 1)
        bound = skellam_rdp(order, noise, steps)
        assert true <= bound * (1 + 1e-9)
        if variance >= 60 and order * shift < variance:
            assert bound < 1.1 * true  # and no far cry from it


def true_epsilon(losses: np.ndarray, mass: np.ndarray, delta: float) -> float:
    """The least epsilon with E[(1 - exp(epsilon - loss))+] <= delta."""
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        over = losses > middle
        spent = (mass[over] * -np.expm1(middle - losses[over])).sum()
        low, high = (low, middle) if spent <= delta else (middle, high)
    return high


@pytest.mark.parametrize(("variance", "rounds"), [(16.0, 1), (16.0, 5), (400.0, 20)])
def test_the_true_epsilon_is_below_the_accountants(variance: float, rounds: int) -> None:
    """Sums of one-dimensional losses over rounds, by convolution on a grid, rounded down."""
    shift, width, delta = 2, 2.0**-9, 1e-4
    edge = reach(variance, 60.0) + shift
    logs = log_pmf(variance, edge)
    p, q = logs[shift:], logs[: len(logs) - shift]
    cell = np.floor((p - q) / width).astype(int)
    one = np.bincount(cell - cell.min(), np.exp(p))
    mass, first = np.ones(1), 0
    for _ in range(rounds):
        mass, first = np.maximum(np.fft.irfft(
            np.fft.rfft(mass, n := len(mass) + len(one) - 1) * np.fft.rfft(one, n), n
        ), 0.0), first + cell.min()  # fmt: skip
    losses = (first + np.arange(len(mass))) * width
    true = true_epsilon(losses, mass, delta)
    noise = math.sqrt(variance) / shift
    told = skellam_epsilon([(noise, float(shift), 1.0, rounds)], delta)
    assert 0 < true <= told < 1.6 * true + 0.1


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_what_a_chance_to_take_part_costs_is_the_divergence_of_the_whole_view(rate: float) -> None:
    """The view of the server, who knows who takes part: a mixture of two disjoint worlds."""
    variance, shift, order = 25.0, 2, 6
    edge = reach(variance, 200.0) + 40
    logs = log_pmf(variance, edge)
    p, q = logs[shift:], logs[: len(logs) - shift]
    own = logsumexp(order * p + (1 - order) * q)  # taking part
    view = np.logaddexp(math.log1p(-rate), math.log(rate) + own) / (order - 1)
    assert taking_part(order, own / (order - 1), rate) == pytest.approx(view)


def test_close_to_the_gaussian_mechanism_and_above_it() -> None:
    """Fine grid, all take part: the price of Rényi accounting against a loss distribution."""
    for noise, rounds in ((1.0, 1), (4.0, 50), (10.0, 200)):
        gaussian = epsilon_of(Event("gaussian", noise, 50, 50), rounds, 1e-5)
        ours = epsilon_of(Event("skellam", noise, 50, 50, FINE), rounds, 1e-5)
        assert gaussian < ours < 1.10 * gaussian


def test_a_coarse_grid_costs_more() -> None:
    costs = [epsilon_of(Event("skellam", 1.0, 50, 50, s), 10, 1e-5) for s in (2.0, 8.0, 64.0, FINE)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 1.2 * costs[2]
    assert costs[2] == pytest.approx(costs[3], rel=1e-3)


def test_more_survivors_never_cost_more() -> None:
    """The noise of n clients is calibrated for the fewest; more shares, larger multiplier."""
    least = 20
    costs = [skellam_epsilon([(math.sqrt(n / least), 100.0, 0.3, 10)], 1e-5) for n in range(20, 60)]
    assert costs == sorted(costs, reverse=True)


def test_sampling_saves_about_its_rate_and_no_more() -> None:
    """Rounds times chance take part on average: not cheaper than that, for the server knows."""
    sampled = epsilon_of(Event("skellam", 5.0, 1000, 100, FINE), 400, 1e-5)
    on_average = epsilon_of(Event("skellam", 5.0, 100, 100, FINE), 40, 1e-5)
    always = epsilon_of(Event("skellam", 5.0, 100, 100, FINE), 400, 1e-5)
    unknown = epsilon_of(Event("poisson", 5.0, 1000, 100), 400, 1e-5)
    assert unknown < on_average <= sampled < 1.2 * on_average < always


def test_budgets_and_ledgers() -> None:
    event = Event("skellam", 1.0, 943, 100, FINE)
    noise = noise_for(event, 50, 4.0, 1e-4)
    spends = epsilon_of(Event("skellam", noise, 943, 100, FINE), 50, 1e-4)
    assert spends <= 4.0
    assert spends == pytest.approx(4.0, rel=0.01)
    ledger = Ledger().add(event, 3).add(Event("skellam", 2.0, 943, 100, 7.0))
    assert Ledger.from_json(ledger.to_json()) == ledger
    assert Ledger().add(event).epsilon(1e-4) < ledger.epsilon(1e-4)


def test_distributed_and_other_noise_are_not_added_up() -> None:
    mixed = Ledger().add(Event("skellam", 1.0, 9, 9, FINE)).add(Event("gaussian", 1.0, 9, 9))
    with pytest.raises(CheckpointError, match="neighbouring data sets differ"):
        mixed.epsilon(1e-5)


def test_the_package_for_loss_distributions_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    assert 0 < Ledger().add(Event("skellam", 3.21, 9, 9, FINE)).epsilon(1e-5) < math.inf


def test_orders_suffice_for_small_and_large_budgets() -> None:
    """The best order lies inside the list, for epsilon from 0.05 to 100."""
    for noise in (0.05, 0.3, 1.0, 10.0, 60.0):
        each = [epsilon_from([(a, skellam_rdp(a, noise, FINE))], 1e-5) for a in ORDERS]
        assert int(np.argmin(each)) < len(ORDERS) - 1
