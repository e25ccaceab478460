"""Settings of every test: quiet children, no telemetry, no flaky deadlines."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from fedrec.config import Config, from_flat

os.environ.update(
    {
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
)
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes of one thread, not of all of them
    threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))
settings.register_profile("fedrec", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fedrec")


LONGEST = "test_deployment.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest test and the largest files, so that two processes end together."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name != LONGEST, -sizes[item.path]))


@pytest.fixture
def small_run(tmp_path: Path) -> Callable[..., Config]:
    """Make configurations of a small, generated, fast run that really learns."""

    def make(name: str = "run", **overrides: str | int | float | bool) -> Config:
        values = {
            "run.out": str(tmp_path / name),
            "data.name": "marketplace",
            "data.users": 50,
            "data.items": 60,
            "data.merchants": 2,
            "data.events_per_user": 12.0,
            "model.dim": 4,
            "model.init": 0.3,
            "train.method": "fedavg",
            "train.optimizer": "sgd",
            "train.rounds": 3,
            "train.lr": 1.0,
            "train.personal_lr": 1.0,
            "server.rows": "touching",
            "server.table_optimizer": "sgd",
            "server.table_lr": 1.0,
            "server.l2": 0.0,
            "evaluate.every": 2,
            "evaluate.k": "5 10",
            "evaluate.bootstrap": 20,
        }
        return from_flat({**values, **{k.replace("__", "."): v for k, v in overrides.items()}})

    return make
