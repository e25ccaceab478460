"""Real processes on the loopback interface: TLS, node keys, secure rounds, deaths and returns."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedrec.config import load_config
from fedrec.deploy.checks import check_folder
from fedrec.deploy.keys import new_node_key
from fedrec.engine.flower import HOST, free_port
from fedrec.engine.run_engine import execute
from fedrec.errors import EngineError
from fedrec.results import load_result
from fedrec.run import run
from fedrec.storage import RunDirectory, read_arrays
from tests.deployment import Deployment, deployed, process_named, wait_for
from tests.silo_files import NAMES

ROUNDS = 4
SECURE: dict[str, str | int | float | bool] = {
    "secure__mode": "malicious-server",
    "secure__bits": 32,
    "silo__answer_s": 40.0,
    "evaluate__every": ROUNDS,
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


def same_as_in_process(made: Deployment, found: Mapping[str, NDArray]) -> bool:
    """Whether a first round has the parameters of one on the joined file in this process."""
    execute(made.joined.with_({"train.rounds": 1}))
    wanted = shared(Path(made.joined.run.out))
    assert wanted.keys() == found.keys()
    assert all(np.abs(value).max() > 0.1 for value in wanted.values())
    return all(np.abs(found[name] - value).max() <= 1e-5 for name, value in wanted.items())


def strangers(made: Deployment) -> None:
    """Start nodes that must not be let in: without a registered key, without TLS, without a key."""
    stranger = made.folder / "stranger.key"
    stranger.write_bytes(new_node_key("stranger").private)
    where = ["flower-supernode", "--superlink", f"127.0.0.1:{made.port}", "--max-retries", "1"]
    where += ["--isolation", "process"]
    tls = ["--root-certificates", str(made.server / "ca.crt")]
    ways = {
        "unregistered": [*tls, "--auth-supernode-private-key", str(stranger)],
        "keyless": tls,
        "plain-text": ["--insecure"],
    }
    for name, way in ways.items():
        made.spawn(name, [*where, "--host", HOST, "--port", str(free_port()), *way])


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


def test_a_federation_survives_deaths_and_lets_no_stranger_in(tmp_path: Path) -> None:
    """One SuperNode dies in mid-round and comes back; then the SuperLink; nothing is lost."""
    with deployed(tmp_path, train__rounds=ROUNDS, **SECURE) as made:
        link = made.start_link()
        nodes = {name: made.start_node(name) for name in NAMES}
        out = made.folder / "out"
        values = ["--out", str(out), "--engine", "deployed", "--link", str(made.server)]
        made.start("run", "run", str(made.server / "run.toml"), *values)
        strangers(made)

        wait_for(lambda: len(lines(out)) >= 1, lambda: made.log("run"))
        first = shared(out)
        wait_for(lambda: "ROUND 2]" in made.log("web"), lambda: made.log("web"))
        os.kill(process_named("fedrec.engine.supernode", nodes["web"].pid), signal.SIGKILL)
        assert lines(out)[0]["clients"] == len(NAMES)
        assert same_as_in_process(made, first)
        wait_for(lambda: len(lines(out)) >= 2, lambda: made.log("run"))
        lost = lines(out)[1]
        assert lost["skipped"]  # of three merchants none may be missing in a sum
        assert len(lost["failed_nodes"]) == 1  # who is silent is waited for once
        assert all((shared(out)[name] == first[name]).all() for name in first)
        refused(made)
        check_folders(made)

        wait_for(lambda: len(made.ids("web")) > 1, lambda: made.log("web"))
        assert len(set(made.ids("web"))) == 1
        assert nodes["web"].poll() is None  # it has started its SuperNode again
        wait_for(lambda: len(lines(out)) >= 3, lambda: made.log("run"))
        os.kill(process_named("fedrec.engine.link", link.pid), signal.SIGKILL)
        back = lines(out)[2]
        assert (back["clients"], back["skipped"]) == (len(NAMES), None)  # it was waited for
        assert link.wait(120) == 1
        wait_for(lambda: "ended during the run" in made.log("run"), lambda: made.log("run"))

        made.start_link()
        made.start("again", "run", "--resume", str(out), *values[2:])
        wait_for(lambda: (out / "result.json").exists(), lambda: made.log("again"))
        assert [line["round"] for line in lines(out)] == list(range(1, ROUNDS + 1))
        assert lines(out)[-1]["clients"] == len(NAMES)
        check_result(made, out)


def check_result(made: Deployment, out: Path) -> None:
    """See that the result says what was protected, and nothing that the server cannot know."""
    result = load_result(out / "result.json")
    assert result.data["clients"] == len(NAMES)
    assert result.data["users"] == 0  # the server knows nothing of them
    assert "lie with the merchants" in " ".join(result.notes)
    system = (out / "system.json").read_text()
    assert json.loads(system)["privacy"]["secure_aggregation"]
    assert made.fingerprint in system


def check_folders(made: Deployment) -> None:
    """See that nothing is found wrong while all is well, over TLS too."""
    for folder in (made.merchant("north"), made.server):
        found = check_folder(folder)
        assert all(finding.good for finding in found), found
        assert any("reachable" in finding.told for finding in found)
