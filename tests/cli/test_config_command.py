import tomllib

import pytest

from fedrec.cli import main
from fedrec.cli.config import schema_keys, select_keys
from fedrec.config import Config, flatten, known_keys
from fedrec.errors import ConfigError


def fedrec(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_every_key_is_explained(capsys):
    code, out, _ = fedrec(capsys, "config")
    assert code == 0
    for key in known_keys():
        assert key in out
    assert all(key.meaning for key in schema_keys())


def test_one_key(capsys):
    code, out, _ = fedrec(capsys, "config", "train.rounds")
    assert code == 0
    rounds = Config().train.rounds
    assert out == f"train.rounds = {rounds}\n  int >= 0\n  communication rounds\n"
    assert "sgd | adam" in fedrec(capsys, "config", "train.optimizer")[1]


def test_a_section():
    assert [key.name for key in select_keys("engine")] == ["engine.nodes", "engine.block_mib"]


def test_an_unknown_key(capsys):
    code, _, err = fedrec(capsys, "config", "train.round")
    assert code == 2
    assert err == "error: unknown configuration key 'train.round'. Did you mean 'train.rounds'?\n"
    with pytest.raises(ConfigError):
        select_keys("nothing-like-it")


def test_a_complete_experiment_file(capsys):
    _, out, _ = fedrec(capsys, "config", "--toml")
    assert flatten(tomllib.loads(out)) == Config().flat()
