"""Shares of learning rates by hand, and a twin whose rates fall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedrec.config import Config
from fedrec.training import central, central_graph
from fedrec.training.central import central_epochs, central_method
from fedrec.training.node import prepare
from fedrec.training.schedule import share_of_rate

Make = Callable[..., Config]
GRAPH = {"model__name": "lightgcn", "model__loss": "bpr", "train__method": "lightgcn",
         "server__rows": "sum"}  # fmt: skip


def test_shares_by_hand() -> None:
    shares = [share_of_rate("cosine", done, 4) for done in range(6)]
    assert shares == pytest.approx([1, 0.853553, 0.5, 0.146447, 0, 0], abs=1e-6)
    assert {share_of_rate("constant", done, 4) for done in range(6)} == {1.0}
    assert share_of_rate("cosine", 0, 0) == 1


def test_a_slowed_method_differs_in_its_rates_alone(small_run: Make) -> None:
    method = central_method(prepare(small_run(central__lr=0.2)))
    assert method.slowed(1.0) == method
    (before,), (after,) = method.phases, method.slowed(0.25).phases
    assert (after.lr, after.personal_lr) == pytest.approx((0.05, 0.05))
    assert after == replace(before, lr=after.lr, row_lr=after.row_lr, personal_lr=after.personal_lr)


@pytest.mark.parametrize("keys", [{}, GRAPH], ids=["mf", "graph"])
def test_the_epochs_of_a_twin_learn_at_those_rates(
    small_run: Make, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is as ever, and one at a rate of 0 changes nothing."""
    asked = {"central__epochs": 3, "central__optimizer": "adam", "central__lr": 0.05, **keys}
    plain, fading = (
        list(central_epochs(prepare(small_run(central__schedule=name, **asked))))
        for name in ("constant", "cosine")
    )
    assert fading[0].loss == plain[0].loss
    assert fading[2].loss != plain[2].loss
    for module in (central, central_graph):
        monkeypatch.setattr(module, "share_of_rate", lambda schedule, done, of: float(done < 1))
    stopped = list(central_epochs(prepare(small_run(**asked))))
    first, _, last = (epoch.evaluate("valid", 0).values for epoch in stopped)
    assert first == last
    assert first != plain[2].evaluate("valid", 0).values
