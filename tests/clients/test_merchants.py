"""A merchant's node hosts one shop, and takes part in what was agreed alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from clients.hosting import host
from clients.merchants import check_promised, own_shop
from fedrec.config import Config
from fedrec.errors import ConfigError, ProtocolError
from tests.silo_files import NAMES, silo_config, write_merchants, write_node_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("shops")
    write_merchants(place)
    write_node_files(place)
    return place


def context(config: Config, **node_config: str | int) -> Context:
    node = {name.replace("_", "-"): value for name, value in node_config.items()}
    return Context(1, 1, node, RecordDict(), dict(config.flat()))


def test_a_node_hosts_its_own_merchant_with_all_its_users(folder: Path, tmp_path: Path) -> None:
    config = silo_config(folder, tmp_path / "run").with_({"data.path": "", "silo.holds": "none"})
    for number, name in enumerate(NAMES):
        file = str(folder / "nodes" / name / "node.toml")
        own = host(context(config, merchant_file=file, state_dir=str(tmp_path / name)))
        assert own.clients.tolist() == [number]
        assert own.name == f"{number}-of-{len(NAMES)}"
        assert own.directory == tmp_path / name / own.name
        users = own.setup.population.users_of(own.clients)
        assert len(users) == own.setup.population.num_users > 1
        assert own.setup.config.silo.holds == name


def test_other_nodes_have_no_shop(folder: Path, tmp_path: Path) -> None:
    config = silo_config(folder, tmp_path / "run")
    assert own_shop(context(config, partition_id=0, num_partitions=1), config) is None


def test_a_node_keeps_to_what_was_agreed(folder: Path, tmp_path: Path) -> None:
    config = silo_config(folder, tmp_path / "run")
    agreed = tmp_path / "agreed.toml"
    agreed.write_text(f"[server]\nmin_clients = {config.server.min_clients}\n")
    check_promised(context(config, agreed=str(agreed)), config)
    agreed.write_text('[merchants]\nonly = "0 1"\n')
    with pytest.raises(ProtocolError, match="has agreed to merchants.only = '0 1'"):
        check_promised(context(config, agreed=str(agreed)), config)
    with pytest.raises(ConfigError, match="cannot read"):
        check_promised(context(config, agreed=str(tmp_path / "none.toml")), config)


def test_a_registry_binds_a_node_to_secure_runs(folder: Path, tmp_path: Path) -> None:
    config = silo_config(folder, tmp_path / "run")
    with pytest.raises(ProtocolError, match="only in runs with secure.mode = 'malicious-server'"):
        host(context(config, registry="keys.json", partition_id=0, num_partitions=1))
