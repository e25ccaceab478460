"""One federated run through the Python interface."""

import json

import pytest

from fedrec import load_result, run
from fedrec.config import load_config
from fedrec.errors import CheckpointError, FedrecError, ModelError, OutputError
from fedrec.run import read_system, reproducing_command, resumed_config
from tests.interruption import cut_after


def test_a_run_and_what_it_leaves(small_run, tmp_path):
    events = []
    done = run(small_run(), out=tmp_path / "a", on_event=events.append)
    assert done.directory == tmp_path / "a"
    present = {p.name for p in done.directory.iterdir()}
    assert present == {"config.toml", "rounds.jsonl", "result.json", "system.json",
                       "test_sums.npz", "checkpoint", "clients", "model"}  # fmt: skip
    (system,) = load_result(done.directory).systems
    assert system.name == "federated-mf"
    assert system.flat_metrics() == done.result.systems[0].flat_metrics()
    assert (done.directory / system.history).is_file()
    assert [e["event"] for e in events] == ["system-start", *["round"] * 3, "system-done"]
    assert events[0] == {
        "event": "system-start", "system": "federated-mf", "seed": 0, "rounds": 3
    }  # fmt: skip
    assert events[-1]["system"] == "federated-mf"
    assert done.result.command.startswith("fedrec run config.toml")
    machine = load_result(done.directory).machine
    assert (machine["device"][:3], machine["precision"]) in {
        ("CPU", "float32"), ("GPU", "float32")
    }  # fmt: skip


def test_the_saved_configuration_gives_the_same_run(small_run, tmp_path):
    first = run(small_run(), out=tmp_path / "a")
    again = run(load_config(tmp_path / "a" / "config.toml"), out=tmp_path / "b")
    assert again.result.config_hash == first.result.config_hash
    assert again.result.data == first.result.data
    assert again.result.systems[0].metrics == first.result.systems[0].metrics


def test_a_run_that_was_cut_is_resumed(small_run, tmp_path, monkeypatch):
    whole = run(small_run(), out=tmp_path / "a").result
    cut_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run(small_run(), out=tmp_path / "b")
    monkeypatch.undo()
    assert not (tmp_path / "b" / "result.json").exists()
    resumed = run(resume=tmp_path / "b").result
    assert resumed.systems[0].metrics == whole.systems[0].metrics
    rounds = (tmp_path / "b" / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in rounds] == [1, 2, 3]


def test_what_cannot_be_resumed(small_run, tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot resume .*there is no config.toml in it"):
        run(resume=tmp_path / "nowhere")
    run(small_run(train__rounds=1), out=tmp_path / "a")
    with pytest.raises(CheckpointError, match="with another configuration .* leave the config"):
        run(small_run(train__rounds=2), resume=tmp_path / "a")
    config = small_run(train__rounds=1)
    assert resumed_config(tmp_path / "a", config) == config


def test_an_earlier_run_is_kept_until_the_new_one_can_start(small_run, tmp_path):
    from fedrec.errors import DataError

    run(small_run(), out=tmp_path / "a")
    with pytest.raises(OutputError, match="already holds a run"):
        run(small_run(), out=tmp_path / "a")
    with pytest.raises(DataError, match="unknown data set"):
        run(small_run(data__name="marketplaces"), out=tmp_path / "a", overwrite=True)
    assert load_result(tmp_path / "a").data["name"] == "marketplace"
    done = run(small_run(train__rounds=1), out=tmp_path / "a", overwrite=True)
    assert len((done.directory / "rounds.jsonl").read_text().splitlines()) == 1


def test_a_damaged_system_file_is_named(tmp_path):
    (tmp_path / "system.json").write_text('{"name": ')
    with pytest.raises(CheckpointError, match=r"system.json is damaged .* delete it, and resume"):
        read_system(tmp_path)


def test_the_command_names_engine_and_app(tmp_path):
    said = "  # config.toml lies beside result.json"
    assert reproducing_command("compare", "in-process") == "fedrec compare config.toml" + said
    command = reproducing_command("run", "ray", tmp_path / "mine")
    assert command == "fedrec run config.toml --engine ray --app mine" + said


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model.pretrained": "/nowhere"}, "model.pretrained: cannot read /nowhere"),
        ({"server.graph_l2": 1.0, "server.graph": "file", "data.item_graph": "/no.csv"}, "no.csv"),
    ],
)
def test_a_file_that_the_server_cannot_read_leaves_nothing(tmp_path, keys, message):
    config = load_config(None, {"data.name": "marketplace", "data.users": 50, **keys})
    events = []
    with pytest.raises(FedrecError, match=message):
        run(config, out=tmp_path / "new", on_event=events.append)
    assert not (tmp_path / "new").exists()
    assert events == []


def test_a_model_that_cannot_be_built_leaves_nothing(tmp_path):
    config = load_config(None, {"data.name": "marketplace", "data.users": 50, "model.name": "mff"})
    events = []
    with pytest.raises(ModelError, match="unknown model.name 'mff'. Did you mean 'mf'"):
        run(config, out=tmp_path / "new", on_event=events.append)
    assert not (tmp_path / "new").exists()
    assert events == []
