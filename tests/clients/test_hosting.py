"""Every client is hosted by exactly one node."""

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from clients.hosting import host, hosted_clients
from fedrec.config import Config
from fedrec.errors import ConfigError, EngineError


def context(config: Config, **node_config: str | int) -> Context:
    node = {name.replace("_", "-"): value for name, value in node_config.items()}
    return Context(1, 1, node, RecordDict(), dict(config.flat()))


@given(st.integers(1, 30), st.integers(1, 60))
def test_each_client_is_hosted_once(nodes: int, clients: int) -> None:
    nodes = min(nodes, clients)
    parts = [hosted_clients(p, nodes, clients) for p in range(nodes)]
    assert sorted(np.concatenate(parts)) == list(range(clients))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("partition", "nodes", "message"),
    [(2, 2, "expected 0 <= partition-id < num-partitions"), (3, 4, "hosts no client.*fewer nodes")],
)
def test_impossible_partitions(partition: int, nodes: int, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        hosted_clients(partition, nodes, 3)


def test_a_node_must_say_who_it_is(small_run: Callable[..., Config]) -> None:
    with pytest.raises(EngineError, match="--node-config"):
        host(context(small_run()))


def test_an_unknown_key_of_the_run_config_is_named(small_run: Callable[..., Config]) -> None:
    wrong = context(small_run(), partition_id=0, num_partitions=1)
    wrong.run_config["train.round"] = 3
    with pytest.raises(ConfigError, match=r"train\.round.*Did you mean 'train\.rounds'"):
        host(wrong)


def test_where_personal_parameters_are_kept(small_run: Callable[..., Config]) -> None:
    here = host(context(small_run(), partition_id=1, num_partitions=2))
    assert here.directory.parts[-3:] == ("run", "clients", "1-of-2")
    own = host(context(small_run(), partition_id=1, num_partitions=2, state_dir="/var/fedrec"))
    assert str(own.directory) == "/var/fedrec/1-of-2"


def test_positions_in_the_stack_of_the_node(small_run: Callable[..., Config]) -> None:
    here = host(context(small_run(), partition_id=1, num_partitions=2))
    assert here.positions(np.array([3, 7])).tolist() == [1, 3]
    with pytest.raises(EngineError, match="client 4 is not hosted on this node"):
        here.positions(np.array([3, 4]))


def test_merchants_bring_all_their_users(small_run: Callable[..., Config]) -> None:
    config = small_run(clients__unit="merchant")
    here = host(context(config, partition_id=0, num_partitions=2))
    owner = here.setup.population.client_of_user
    fresh = here.fresh().values["user"]
    assert len(fresh) == (owner == 0).sum() > 1
    assert here.positions(np.array([0])).tolist() == list(range(len(fresh)))
