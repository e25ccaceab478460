"""experiments/peers: what compares simulators, without any of them; runners are scripts."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.peers import compare

TABLE = np.arange(12, dtype=np.float32).reshape(6, 2)
ARRAYS = {
    "update_ids": np.array([1, 4]),
    "update_rows": np.array([[3.0, 0.0], [0.0, 4.0]]),
    "update_weights/head/bias": np.array([2.0]),
    "table": TABLE,
    "weights/head/bias": np.zeros(1, np.float32),
    "chosen": np.zeros((2, 5), np.int64),
}

RUNNER = """
import json, sys
import numpy as np
with np.load(sys.argv[1]) as work:
    table = np.zeros(work["table"].shape)
    table[work["update_ids"]] = work["update_rows"]
    bias = work["update_weights/head/bias"]
seconds = [9.0, *(0.5 / (n + 1) for n in range(int(sys.argv[3]) - 1))]
told = {"seconds": np.array(seconds), "versions": np.array(json.dumps({"peer": "7"}))}
np.savez(sys.argv[2], **told, **{"table": table, "weights/head/bias": bias})
"""


def answer(seconds, table=None, bias=2.0):
    dense = np.zeros((6, 2))
    dense[[1, 4]] = [[3.0, 0.0], [0.0, 4.0]]
    return {"seconds": np.array(seconds), "versions": np.array(json.dumps({"peer": "7"})),
            "table": dense if table is None else table,
            "weights/head/bias": np.array([bias])}  # fmt: skip


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """Return a function that makes a peer of a script's text; its workload is there too."""
    monkeypatch.setattr(compare, "HERE", tmp_path)
    np.savez(tmp_path / "work.npz", **ARRAYS)

    def make(text: str, **changes) -> compare.Peer:
        (tmp_path / "runner.py").write_text(text, encoding="utf-8")
        return replace(compare.Peer("runner.py", (), rounds=3), **changes)

    return make


def run(peer: compare.Peer, place: Path):
    return compare.one_pass(peer, sys.executable, place / "work.npz", place)


def test_the_difference_is_that_of_the_worst_array():
    assert compare.difference(answer([1]), ARRAYS) == 0
    off = answer([1])["table"]
    off[0, 0] = 0.5  # ||ours|| = 5
    assert compare.difference(answer([1], off), ARRAYS) == pytest.approx(0.1)
    assert compare.difference(answer([1], off, bias=3.0), ARRAYS) == pytest.approx(0.5)


def test_a_pass_is_answered_by_the_runner(runner, tmp_path):
    got = run(runner(RUNNER), tmp_path)
    figures = compare.added({}, got, ARRAYS)
    assert figures == {
        "round_s": 0.25,
        "median_s": 0.375,
        "first_round_s": 9.0,
        "update_error": 0.0,
        "versions": {"peer": "7"},
        "passes_s": [[0.5, 0.25]],
    }


def test_the_fastest_round_of_all_passes_counts():
    figures = compare.added({}, answer([9, 0.5, 0.4]), ARRAYS)
    figures = compare.added(figures, answer([8, 0.3, 0.6], bias=3.0), ARRAYS)
    assert figures["passes_s"] == [[0.5, 0.4], [0.3, 0.6]]
    assert (figures["round_s"], figures["median_s"]) == (0.3, 0.45)
    assert figures["update_error"] == 0.5
    failed = compare.added(figures, "more than 1 s for 3 rounds", ARRAYS)
    assert failed == {**figures, "error": "more than 1 s for 3 rounds"}
    later = compare.added(figures, answer([8, 0.3]), ARRAYS)
    assert later["update_error"] == 0.5  # the worst pass, not the last


def test_settings_take_turns(runner, tmp_path):
    peer = runner("import os, sys\nsys.exit(int(os.environ.get('PEER_THREADS', 0)))")
    peer = replace(peer, settings=({"PEER_THREADS": "7"}, {"PEER_THREADS": "8"}))
    told = [
        compare.one_pass(peer, sys.executable, tmp_path / "work.npz", tmp_path, number)
        for number in (0, 1, 2)
    ]
    assert told == [f"failed with code {code}: no message" for code in (7, 8, 7)]


def test_each_setting_is_tried_and_fedrec_is_the_measure(monkeypatch):
    asked = []

    def pass_of(peer, python, work, place, number):
        name = next(n for n, p in compare.PEERS.items() if p is peer)
        asked.append((name, number))
        if name == "pfl-research" and number == 0:
            return "failed with code 1: no message"
        if name == "FedJAX":
            return "more than 600 s for 6 rounds"
        return answer([9.0, 0.5 if name == "fedrec" else 2.0])

    monkeypatch.setattr(compare, "one_pass", pass_of)
    monkeypatch.setattr(compare, "export_workload", lambda workload, file: None)
    monkeypatch.setattr(compare, "read_export", lambda file: (ARRAYS, {"per_round": 5}))
    pythons = dict.fromkeys(("fedrec", "FedJAX", "pfl-research"), "python")
    figures = compare.measure("W1", {**pythons, "Flower, Ray": None}, 2)
    assert asked == [("fedrec", 0), ("FedJAX", 0), ("pfl-research", 0), ("fedrec", 1),
                     ("pfl-research", 1)]  # fmt: skip
    assert figures["fedrec"]["clients_per_s"] == 10.0
    assert figures["pfl-research"]["times_slower"] == 4.0
    assert figures["FedJAX"] == {"error": "more than 600 s for 6 rounds"}
    assert figures["Flower, Ray"] == {"error": "its environment could not be made"}


def test_a_failing_runner_says_why(runner, tmp_path):
    told = run(runner("import sys\nraise ValueError('no such layer')\n"), tmp_path)
    assert told == "failed with code 1: ValueError: no such layer"
    assert run(runner("raise SystemExit(3)"), tmp_path) == "failed with code 3: no message"
    killed = run(runner("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), tmp_path)
    assert killed == "failed with code -9: no message"


def test_a_runner_without_an_answer_or_an_old_answer_is_not_taken(runner, tmp_path):
    assert isinstance(run(runner(RUNNER), tmp_path), dict)
    assert run(runner("print('bye')"), tmp_path) == "ended without an answer: bye"


def test_a_slow_runner_is_given_up(runner, tmp_path):
    peer = runner("import time\ntime.sleep(60)", limit=1)
    assert run(peer, tmp_path) == "more than 1 s for 3 rounds"


def test_the_last_error_of_a_log_is_told():
    log = "INFO begin\nRuntimeError: first\nmy.pkg.ClientAppException: second\n(pid=3) goodbye\n"
    assert compare.last_words(log) == "my.pkg.ClientAppException: second"
    assert compare.last_words("one\ntwo\n\n") == "two"
    assert compare.last_words("  ") == "no message"
    assert len(compare.last_words("ValueError: " + "x" * 1000)) == 300


def test_what_would_not_fit_is_not_tried():
    holding = compare.Peer("runner.py", (), holds_replies=True)
    assert compare.unfit(holding, ARRAYS) is None
    huge = {**ARRAYS, "chosen": np.zeros((1, 100_000_000), np.int8)}  # times 13 float32
    assert compare.unfit(holding, huge) == (
        "not tried: the 100,000,000 replies of a round hold 5.2 GB"
    )
    assert compare.unfit(replace(holding, holds_replies=False), huge) is None


def test_an_environment_is_made_once_and_again_for_other_packages(tmp_path, capsys):
    ours = compare.Peer("fedrec_rounds.py", ())
    assert compare.interpreter(ours, tmp_path) == sys.executable
    peer = compare.Peer("x_rounds.py", ("alpha==1", "beta==2"))
    place = tmp_path / "x_rounds"
    place.mkdir()
    (place / "complete").write_text("alpha==1\nbeta==2")
    assert compare.interpreter(peer, tmp_path) == str(place / "bin" / "python")
    assert capsys.readouterr().out == ""


def test_without_an_environment_the_others_go_on(tmp_path, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise compare.subprocess.CalledProcessError(1, ["pip"])

    monkeypatch.setattr(compare.subprocess, "run", refuse)
    found = compare.environments_of(["fedrec", "FedJAX"], tmp_path)
    assert found == {"fedrec": sys.executable, "FedJAX": None}
    assert "installing fedjax==0.0.17, jax==0.10.2" in capsys.readouterr().out


def test_every_peer_has_its_runner_and_pinned_packages():
    for name, peer in compare.PEERS.items():
        assert (Path(compare.__file__).parent / peer.runner).is_file()
        assert all("==" in p or "<" in p for p in peer.packages), name
        assert peer.rounds >= 2  # the first is for warming up


def test_tables_are_aligned_on_a_screen():
    text = "| a | n |\n|---|---:|\n| long name | 1 |\n| b | 1,000 |\n\nwords | here"
    assert compare.aligned(text).splitlines() == [
        "a              n",
        "long name      1",
        "b          1,000",
        "",
        "words | here",
    ]
