"""The experiment on twins: its cases, its measurement on a small marketplace, its table."""

import json

import pytest

from experiments import tables_board, twin_gap
from experiments.board.entries import DATA, read_entries
from experiments.board.search import trial_config
from experiments.twin_gap_cases import FIRST, TWIN, Case, Gap
from fedrec.machine import describe_machine

FEDERATED = {"train.rounds": 3, "model.dim": 4, "central.epochs": 2, "central.batch": 64}
SMALL = Gap(
    "fedmf",
    "quick",
    (
        Case(FIRST, FEDERATED),
        Case(TWIN, FEDERATED, "centralised"),
        Case("in one step", {**FEDERATED, "central.batch": 100_000}, "centralised"),
    ),
)


def test_every_case_is_usable_and_compared_with_a_twin():
    entries = {e.name: e for e in read_entries() if not e.leaky}
    for gap in twin_gap.GAPS:
        assert gap.data in DATA
        names = [case.name for case in gap.cases]
        assert names[:2] == [FIRST, TWIN]
        assert len(set(names)) == len(names)
        hashes = {
            (c.system, trial_config(entries[gap.method], gap.data, c.keys).config_hash())
            for c in gap.cases
        }
        assert len(hashes) == len(gap.cases)  # no two are the same training
    assert tables_board.TWIN == TWIN


def test_a_twin_takes_a_step_for_each_batch_of_each_epoch():
    (entry,) = [e for e in read_entries() if e.name == "fedmf" and not e.leaky]
    config = trial_config(entry, "quick", FEDERATED)
    assert twin_gap.steps("federated", config) == 3
    assert twin_gap.steps("centralised", config.with_({"central.batch": 10**6})) == 2
    few, many = (
        twin_gap.steps("centralised", config.with_({"central.batch": size})) for size in (128, 64)
    )
    assert few + 2 <= many + 1 <= 2 * few + 1  # twice as many, the last batch of an epoch aside


def test_cases_are_measured_written_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(twin_gap, "GAPS", (SMALL,))
    file = tmp_path / "gap.json"
    twin_gap.main(["--json", str(file), "--seeds", "0", "1"])
    told = json.loads(file.read_text())
    cases = told["gaps"]["fedmf on quick"]
    assert [c["case"] for c in cases] == [c.name for c in SMALL.cases]
    assert all(len(c["values"]) == 2 and 0 < c["values"][0] < 1 for c in cases)
    assert cases[0]["steps"] == 3
    assert cases[1]["steps"] > cases[2]["steps"] == 2
    assert "fedmf" in capsys.readouterr().out
    monkeypatch.setattr(twin_gap, "train_system", pytest.fail)
    twin_gap.main(["--json", str(file), "--seeds", "0", "1"])
    assert json.loads(file.read_text())["gaps"] == told["gaps"]


def test_the_table(tmp_path):
    assert tables_board.gap_table(tmp_path) == ""
    place = tmp_path / "experiments" / "results" / "tuning"
    place.mkdir(parents=True)
    rows = [(FIRST, 100, [0.1, 0.08]), (TWIN, 1140, [0.11, 0.09]), ("more steps", 400, [0.1, 0.1])]
    cases = [{"case": c, "steps": s, "values": v, "seeds": [0, 1]} for c, s, v in rows]
    told = {"gaps": {"sasrec on ml-100k": cases}, "machine": describe_machine()}
    (place / "twin_gap.json").write_text(json.dumps(told))
    lines = tables_board.gap_table(tmp_path).splitlines()
    assert lines[2] == f"| sasrec on ml-100k | {FIRST} | 100 | 0.0900 | 90.0% |"
    assert lines[3] == f"|  | {TWIN} | 1,140 | 0.1000 | 100.0% |"
    assert lines[4] == "|  | more steps | 400 | 0.1000 | 100.0% |"
    assert lines[6].startswith("Full ranking, seeds 0, 1; the twin's steps")
    other = {"case": TWIN, "steps": 9, "values": [0.1], "seeds": [0]}
    told["gaps"] |= {"fedmf on ml-100k": [other], "ncf on ml-100k": [other]}
    (place / "twin_gap.json").write_text(json.dumps(told))
    last = tables_board.gap_table(tmp_path).splitlines()[-1]
    assert last.startswith("Full ranking, seeds 0, 1 (sasrec on ml-100k); seed 0 (all others); the")
