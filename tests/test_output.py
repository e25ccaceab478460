import os

import pytest

from fedrec.config import load_config, to_toml
from fedrec.errors import OutputError
from fedrec.output import delete_run, output_directory, ready_output, write_atomically


def test_where_a_run_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output_directory(load_config(None, {"run.name": "x"})) == tmp_path / "runs" / "x"
    config = load_config(None, {"run.out": "there"})
    assert output_directory(config) == tmp_path / "there"
    assert output_directory(config, "here") == tmp_path / "here"


def test_a_new_or_empty_directory_is_created_and_left_empty(tmp_path):
    directory = ready_output(tmp_path / "a" / "b")
    assert list(directory.iterdir()) == []
    assert ready_output(directory) == directory


def test_a_run_that_is_there_is_kept(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(OutputError, match=r"already holds a run.*--resume.*--overwrite.*--out DIR"):
        ready_output(tmp_path)
    assert ready_output(tmp_path, overwrite=True) == tmp_path
    assert (tmp_path / "result.json").exists()
    (tmp_path / "systems").mkdir()
    with pytest.raises(OutputError, match="Continue it with: fedrec compare --resume"):
        ready_output(tmp_path)


def test_deleting_a_run_deletes_the_run_and_nothing_else(tmp_path):
    ours = ("config.toml", "rounds.jsonl", "checkpoint/server.ckpt", "clients/0-of-1/h/round-1.ckpt", "model/card.json", "tensorboard/federated-mf-seed0/events", "systems/ease-seed0/system.json")  # fmt: skip
    theirs = ("clients/app.py", "figures/a.svg", "notes.txt", "other/rounds.jsonl")
    for name in (*ours, *theirs):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    delete_run(tmp_path)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == sorted(theirs)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "clients",
        "figures",
        "notes.txt",
        "other",
    ]


def test_a_killed_run_is_known_by_its_resolved_configuration(tmp_path):
    (tmp_path / "config.toml").write_text("train.rounds = 3")  # an experiment of the user
    with pytest.raises(OutputError, match=r"not of a fedrec run \(config.toml\)"):
        ready_output(tmp_path, overwrite=True)
    (tmp_path / "config.toml").write_text(to_toml(load_config()))
    with pytest.raises(OutputError, match="already holds a run"):
        ready_output(tmp_path)
    assert ready_output(tmp_path, overwrite=True) == tmp_path


def test_a_directory_of_runs_is_not_a_run(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "rounds.jsonl").write_text("")
    with pytest.raises(OutputError, match=r"not of a fedrec run \(a\)"):
        ready_output(tmp_path, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_peoples_files_are_never_overwritten(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match=r"not of a fedrec run \(thesis.tex\)"):
        ready_output(tmp_path, overwrite=overwrite)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="is a file. Choose another with --out DIR"):
            ready_output(directory)


def test_an_unwritable_directory(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # the tests may run as root
    with pytest.raises(
        OutputError, match="cannot write into .*: Permission denied. Choose another"
    ):
        ready_output(tmp_path)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a directory nobody can write")
def test_a_directory_that_not_even_root_can_write():
    from pathlib import Path

    with pytest.raises(OutputError, match="cannot write into the output directory /proc/self/out"):
        ready_output(Path("/proc/self/out"))


def test_atomic_writing_replaces_and_leaves_nothing_behind(tmp_path):
    write_atomically(tmp_path / "f", "one")
    write_atomically(tmp_path / "f", "two")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "two"
    with pytest.raises(OutputError, match="cannot write"):
        write_atomically(tmp_path / "f" / "below", "")
