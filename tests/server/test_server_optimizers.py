"""Server optimisers: FedAvg by hand, and states that are restored bit by bit."""

import numpy as np
import pytest

from fedrec.config_sections import ServerSection
from fedrec.errors import CheckpointError
from fedrec.params import Shared, SparseRows
from server.aggregation import MeanUpdate
from server.optimizers import ServerOptimizer

NAMES = ("sgd", "momentum", "adam", "adagrad", "rmsprop", "adamw", "lion")


def section(**keys: str | float) -> ServerSection:
    """Return settings that start from plain FedAvg."""
    plain = {"table_optimizer": "sgd", "table_lr": 1.0, "weight_optimizer": "sgd",
             "weight_lr": 1.0, "l2": 0.0}  # fmt: skip
    return ServerSection.model_validate({**plain, **keys})


def shared() -> Shared:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    return Shared({"item": table}, {"bias": np.ones(2, np.float32)})


def update(scale: float = 1.0) -> MeanUpdate:
    rows = SparseRows(np.array([1]), scale * np.array([[0.5, -0.25]]))
    return MeanUpdate({"item": rows}, {"bias": scale * np.array([0.1, 0.2])})


def test_sgd_with_rate_one_adds_the_mean_update() -> None:
    after = ServerOptimizer(section(), shared()).apply(shared(), update())
    assert after.tables["item"].tolist() == [[0, 1], [2.5, 2.75], [4, 5]]
    np.testing.assert_allclose(after.weights["bias"], [1.1, 1.2], rtol=1e-6)


def test_l2_shrinks_tables_and_leaves_weights() -> None:
    optimizer = ServerOptimizer(section(l2=0.1, table_lr=0.5), shared())
    after = optimizer.apply(shared(), update(0.0))
    np.testing.assert_allclose(after.tables["item"], 0.95 * shared().tables["item"], rtol=1e-6)
    assert after.weights["bias"].tolist() == [1, 1]


def test_first_adam_step_has_the_size_of_the_learning_rate() -> None:
    settings = section(table_optimizer="adam", table_lr=0.03, weight_lr=2.0)
    after = ServerOptimizer(settings, shared()).apply(shared(), update())
    moved = after.tables["item"] - shared().tables["item"]
    np.testing.assert_allclose(moved, [[0, 0], [0.03, -0.03], [0, 0]], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(after.weights["bias"], [1.2, 1.4], rtol=1e-6)


def test_tables_without_weights() -> None:
    only = Shared(shared().tables)
    optimizer = ServerOptimizer(section(), only)
    after = optimizer.apply(only, MeanUpdate(update().tables, {}))
    assert after.weights == {}
    assert after.tables["item"][1, 0] == 2.5


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_optimizer_continues_bit_by_bit(name: str) -> None:
    settings = section(table_optimizer=name, weight_optimizer=name, table_lr=0.1)
    first = ServerOptimizer(settings, shared())
    now = first.apply(first.apply(shared(), update()), update(-0.3))
    second = ServerOptimizer(settings, shared())
    second.restore(first.state())
    a, b = first.apply(now, update(2.0)), second.apply(now, update(2.0))
    assert a.tables["item"].tobytes() == b.tables["item"].tobytes()
    assert a.weights["bias"].tobytes() == b.weights["bias"].tobytes()
    assert not np.array_equal(a.tables["item"], now.tables["item"])


def test_the_state_of_another_optimizer_is_refused() -> None:
    adam = ServerOptimizer(section(table_optimizer="adam"), shared())
    with pytest.raises(CheckpointError, match="another server optimizer or model"):
        ServerOptimizer(section(), shared()).restore(adam.state())
