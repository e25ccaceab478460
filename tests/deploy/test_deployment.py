"""Real processes on the loopback interface: TLS, node keys, secure rounds, deaths and returns."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedrec.config import load_config
from fedrec.deploy.checks import check_folder
from fedrec.deploy.keys import new_node_key
from fedrec.engine.run_engine import execute
from fedrec.errors import EngineError
from fedrec.run import run
from fedrec.storage import RunDirectory, read_arrays
from tests.deployment import Deployment, deployed, process_named, wait_for
from tests.silo_files import NAMES

SECURE = {
    "secure__mode": "malicious-server",
    "secure__bits": 32,
    "evaluate__sampled": 0,
    "evaluate__bootstrap": 0,
}


def shared(directory: Path) -> dict[str, NDArray]:
    arrays, _ = read_arrays(RunDirectory(directory).checkpoint)
    return {name: a for name, a in arrays.items() if name.startswith("shared/")}


def lines(directory: Path) -> list[dict[str, Any]]:
    path = RunDirectory(directory).rounds
    if not path.exists():
        return []
    return [
        json.loads(line) for line in path.read_text().splitlines(keepends=True) if line[-1] == "\n"
    ]


def same_as_in_process(made: Deployment, directory: Path, rounds: int) -> bool:
    """Whether a run has the parameters of one on the joined file in this process."""
    execute(made.joined.with_({"train.rounds": rounds}))
    wanted, found = shared(Path(made.joined.run.out)), shared(directory)
    assert all(np.abs(value).max() > 0.1 for value in wanted.values())
    return all(np.abs(found[name] - value).max() <= 1e-5 for name, value in wanted.items())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A SuperLink with TLS that asks nodes for their keys, and all three nodes."""
    with deployed(
        tmp_path_factory.mktemp("plain"),
        train__rounds=1,
        evaluate__sampled=0,
        evaluate__bootstrap=0,
    ) as made:
        made.start_link()
        for name in NAMES:
            made.start_node(name)
        yield made


def test_a_round_over_tls_with_node_keys(plain: Deployment) -> None:
    strangers(plain)
    out = plain.folder / "out"
    done = run(
        load_config(plain.server / "run.toml"), engine="deployed", link=plain.server, out=out
    )
    assert [line["clients"] for line in lines(out)] == [3]
    assert same_as_in_process(plain, out, 1)
    assert done.result.data["clients"] == 3
    assert done.result.data["users"] == 0  # the server knows nothing of them
    assert "lie with the merchants" in " ".join(done.result.notes)
    for name in NAMES:
        assert len(plain.ids(name)) == 1
    refused(plain)
    found = check_folder(plain.merchant("web"))
    assert all(finding.good for finding in found), found
    assert any("reachable" in finding.told for finding in found)
    assert all(finding.good for finding in check_folder(plain.server))


def strangers(made: Deployment) -> None:
    """Start nodes that must not be let in: without a registered key, without TLS, without a key."""
    stranger = made.folder / "stranger.key"
    stranger.write_bytes(new_node_key("stranger").private)
    where = ["flower-supernode", "--superlink", f"127.0.0.1:{made.port}", "--max-retries", "1"]
    tls = ["--root-certificates", str(made.server / "ca.crt")]
    made.spawn("unregistered", [*where, *tls, "--auth-supernode-private-key", str(stranger)])
    made.spawn("keyless", [*where, *tls])
    made.spawn("plain-text", [*where, "--insecure"])


def refused(made: Deployment) -> None:
    """See that none of the strangers was let in, and that they know."""
    for name, reason in {
        "unregistered": "Failed to initialize the connection",
        "keyless": "Failed to initialize the connection",
        "plain-text": "Failed to initialize the connection",
    }.items():
        wait_for(lambda n=name, r=reason: r in made.log(n), lambda n=name: made.log(n))
        assert made.ids(name) == []


def test_no_superlink_no_run(tmp_path: Path) -> None:
    made = Deployment(tmp_path)
    config = load_config(made.server / "run.toml")
    with pytest.raises(EngineError, match=r"no SuperLink answers on port \d+.*start\.sh"):
        run(config, engine="deployed", link=made.server, out=tmp_path / "out")


@pytest.mark.slow
def test_secure_rounds_deaths_and_returns(tmp_path: Path) -> None:
    """One SuperNode dies in mid-round and comes back; then the SuperLink; nobody is asked twice."""
    with deployed(tmp_path, train__rounds=5, silo__answer_s=30.0, **SECURE) as made:
        link = made.start_link()
        nodes = {name: made.start_node(name) for name in NAMES}
        out = made.folder / "out"
        values = ["--out", str(out), "--engine", "deployed", "--link", str(made.server)]
        made.start("run", "run", str(made.server / "run.toml"), *values)

        wait_for(lambda: len(lines(out)) >= 1, lambda: made.log("run"))
        first = shared(out)
        assert same_as_in_process(made, out, 1)
        before = made.log("web").count("ROUND 2]")
        wait_for(lambda: made.log("web").count("ROUND 2]") > before, lambda: made.log("web"))
        os.kill(process_named("flower-supernode", nodes["web"].pid), signal.SIGKILL)
        assert nodes["web"].wait(60) == 1  # for what restarts services

        wait_for(lambda: len(lines(out)) >= 2, lambda: made.log("run"))
        lost = lines(out)[1]
        assert lost["skipped"]  # of three merchants none may be missing in a sum
        assert lost["failed_nodes"]
        assert all((shared(out)[name] == first[name]).all() for name in first)

        returns(made, "web")
        wait_for(
            lambda: any(line["clients"] == 3 for line in lines(out)[2:]), lambda: made.log("run")
        )
        done = len(lines(out))
        os.kill(process_named("fedrec.engine.link", link.pid), signal.SIGKILL)
        assert link.wait(60) == 1
        wait_for(lambda: "ended during the run" in made.log("run"), lambda: made.log("run"))

        made.start_link()
        resume = ["--resume", str(out), *values[2:]]
        made.start("again", "run", *resume)
        wait_for(lambda: (out / "result.json").exists(), lambda: made.log("again"))
        rounds = lines(out)
        assert [line["round"] for line in rounds] == [1, 2, 3, 4, 5]
        assert len(rounds) > done
        assert [line["clients"] for line in rounds[-1:]] == [3]
        assert json.loads((out / "system.json").read_text())["privacy"]["secure_aggregation"]
        assert made.fingerprint in (out / "system.json").read_text()


def returns(made: Deployment, name: str) -> None:
    """Start a node until the server lets it in again, as what restarts services does."""
    before = len(made.ids(name))
    for _ in range(40):
        child = made.start_node(name)
        while child.poll() is None and len(made.ids(name)) == before:
            time.sleep(0.2)
        if len(made.ids(name)) > before:
            assert made.ids(name)[0] == made.ids(name)[-1]
            return
        time.sleep(3)
    raise AssertionError(made.log(name)[-3000:])
