"""SCAFFOLD when answers are lost or rounds skipped: c stays the mean of the clients' c_i."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.engine._flower import error_reply
from fedrec.engine.apps import app_dir, load_app
from fedrec.engine.in_process import InProcessGrid
from fedrec.engine.run_engine import execute
from fedrec.params import Personal
from fedrec.storage import RunDirectory, read_arrays
from fedrec.training.control import MADE, TABLE, settled
from fedrec.wire import TRAIN
from fedrec.wire_secure import SECURE as SECURE_KIND
from fedrec.wire_secure import SecureRequest
from tests.engine.test_control_run import KEYS, Make, controls
from tests.engine.test_resume import outcome, run_until_killed
from tests.engine.test_secure_run import SECURE

NODES: dict[str, Any] = {**KEYS, "engine__nodes": 4, "evaluate__sampled": 0}
ITEM = TABLE + "item"


class LossyGrid(InProcessGrid):
    """Delivers every message, and loses the answers of some nodes once they have trained."""

    lose: dict[int, int]

    def _deliver(self, message: Message) -> Message:
        kind, node = message.metadata.message_type, message.metadata.dst_node_id
        trains = kind == TRAIN or (
            kind == SECURE_KIND and SecureRequest.unpack(message.content).stage == "mask"
        )
        at, reply = message.metadata.group_id, super()._deliver(message)
        if trains and self.lose.get(int(at)) == node:
            return error_reply(message, RuntimeError("lost on the way"))
        return reply


def run_lossy(config: Config, lose: dict[int, int]) -> None:
    """Run; in each round of `lose` the answer of that node is lost."""
    server_app, client_app = load_app(app_dir())
    grid = LossyGrid(client_app, config, config.engine.nodes)
    grid.lose = lose
    server_app(grid, Context(1, 0, {}, RecordDict(), dict(config.flat())))


def means(config: Config) -> tuple[NDArray, NDArray, NDArray]:
    """c, the mean of the c_i that count, and that of all that were ever made."""
    server, nodes = controls(config)
    counted = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[0]["counted"]
    held = [settled(Personal({}, node), counted[[i]]).own[ITEM][0] for i, node in enumerate(nodes)]
    return server[ITEM], np.mean(held, 0), np.mean([node[ITEM][0] for node in nodes], 0)


@pytest.mark.parametrize("keys", [{}, SECURE, {"clients__sampling": "fixed", "clients__per_round": 3}],
                         ids=["plain", "secure", "some"])  # fmt: skip
def test_a_lost_answer_changes_no_control_variate(small_run: Make, keys: dict[str, Any]) -> None:
    config = small_run("run", **{**keys, **NODES, "train__rounds": 5})
    run_lossy(config, {2: 1, 4: 3, 5: 2})
    c, counted, made = means(config)
    assert np.abs(c).max() > 1e-3
    bound = 1e-3 if keys is SECURE else 1e-6  # masked sums are rounded
    assert np.abs(counted - c).max() < bound
    assert np.abs(made - c).max() > 2 * bound, "the last answer was lost"


def test_a_skipped_round_changes_none(small_run: Make) -> None:
    keys = {"clients__dropout": 0.3, "server__min_clients": 4, "train__rounds": 6}
    config = small_run("run", **{**NODES, **keys})
    execute(config)
    _, nodes = controls(config)
    counted = read_arrays(RunDirectory(Path(config.run.out)).checkpoint)[0]["counted"]
    assert 0 < counted.max() < max(float(node[MADE].max()) for node in nodes), "none was skipped"
    c, held, _ = means(config)
    assert np.abs(c).max() > 1e-3
    assert np.allclose(held, c, atol=1e-6)


def test_it_survives_a_kill(small_run: Make) -> None:
    keys = {**NODES, "clients__dropout": 0.3, "server__min_clients": 3, "train__rounds": 6,
            "server__checkpoint_every": 2}  # fmt: skip
    calm, killed = small_run("calm", **keys), small_run("killed", **keys)
    execute(calm)
    assert run_until_killed(killed, 17, after=True)
    execute(killed)
    assert outcome(killed) == outcome(calm)
    for mine, other in zip(means(killed), means(calm), strict=True):
        assert np.array_equal(mine, other)
    assert np.allclose(*means(calm)[:2], atol=1e-6)
