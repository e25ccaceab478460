import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.config import (
    LATER,
    Config,
    check,
    flatten,
    from_flat,
    integers,
    known_keys,
    load_config,
    parse_override,
    to_toml,
)
from fedrec.errors import ConfigError


def test_the_defaults_are_consistent():
    check(Config())
    assert load_config() == Config()


def test_flat_is_a_flower_run_config():
    flat = Config().flat()
    assert list(flat) == known_keys()
    assert flat["train.rounds"] == Config().train.rounds
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())
    assert from_flat(flat) == Config()


@given(
    rounds=st.integers(0, 10_000),
    lr=st.floats(1e-6, 10),
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    path=st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
)
def test_toml_and_flat_keep_every_value(rounds, lr, name, path):
    values = {"train.rounds": rounds, "train.lr": lr, "run.name": name, "data.path": path}
    config = load_config(None, values)
    assert from_flat(config.flat()) == config
    assert from_flat(flatten(tomllib.loads(to_toml(config)))) == config


def test_a_file_and_overrides(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text("[train]\nrounds = 5\nlr = 1\n")
    config = load_config(file, {"train.rounds": 6})
    assert (config.train.rounds, config.train.lr) == (6, 1.0)
    file.write_text("train.rounds = 5\nevaluate.k = '5 10'\n")
    assert integers(load_config(file), "evaluate.k") == (5, 10)


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"train.round": 1}, r"unknown configuration key 'train.round'. Did you mean 'train.rounds'\?"),
        ({"train.weight_lr": 1.0}, r"Did you mean 'train.row_lr'\?"),
        ({"train.lazy_rows": True}, r"Did you mean 'server.lazy_rows'\?"),
        ({"rounds": 1}, r"unknown configuration key 'rounds'"),
        ({"train.rounds": -1}, r"train.rounds = -1: .*greater than or equal to 0"),
        ({"train.rounds": "many"}, r"train.rounds = 'many': .*integer"),
        ({"train.optimizer": "adamax"}, r"train.optimizer = 'adamax': .*'sgd' or 'adam'"),
        ({"run.name": "../up"}, r"run.name = '../up'"),
        ({"split.fraction": 0.6}, r"split.fraction = 0.6"),
        ({"data.feedback": "explicit"}, r"needs model.loss = 'squared', not 'logistic'"),
        ({"model.loss": "squared"}, r"set data.feedback = 'explicit', or train.method = 'fcf'"),
        ({"train.method": "fcf"}, r"needs model.name = 'mf', model.loss = 'squared'"),
        ({"train.negatives": 0}, r"implicit feedback needs train.negatives of at least 1"),
        ({"model.name": "keras"}, r"needs model.source = 'file.py:function'"),
        ({"train.precision": "mixed"}, r"is for the Dense layers of model.name = 'ncf' or 'keras'"),
        ({"train.precision": "half"}, r"train.precision = 'half': Input should be 'float32' or"),
        ({"data.name": "file"}, r"needs data.path, the file to read"),
        ({"evaluate.k": "5 ten"}, r"evaluate.k = '5 ten': expected integers of at least 1"),
        ({"evaluate.k": "0"}, r"expected integers of at least 1"),
        ({"compare.seeds": ""}, r"compare.seeds = '': expected integers of at least 0"),
        ({"model.mlp": "64,-3"}, r"model.mlp = '64,-3'"),
    ],
)  # fmt: skip
def test_what_is_refused_and_how(flat, message):
    with pytest.raises(ConfigError, match=message):
        from_flat(flat)


def test_combinations_that_are_allowed():
    from_flat({"data.feedback": "explicit", "model.loss": "squared", "train.negatives": 0})
    from_flat({"train.method": "fcf", "model.loss": "squared"})
    from_flat({"data.name": "file", "data.path": "x.csv"})


def test_a_single_number_is_a_list_of_one():
    config = from_flat({"compare.seeds": 3, "evaluate.k": 10, "data.path": 7})
    assert (config.compare.seeds, config.evaluate.k, config.data.path) == ("3", "10", "7")
    with pytest.raises(ConfigError, match="train.optimizer = '3'"):
        from_flat({"train.optimizer": 3})
    with pytest.raises(ConfigError, match="data.path = True"):
        from_flat({"data.path": True})


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the experiment .*: No such file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot read the experiment .*: Is a directory"):
        load_config(tmp_path)
    file = tmp_path / "x.toml"
    file.write_text("train = = 3")
    with pytest.raises(ConfigError, match="x.toml is not valid TOML"):
        load_config(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="x.toml is not valid TOML"):
        load_config(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.rounds=50", ("train.rounds", 50)),
        ("train.lr=0.5", ("train.lr", 0.5)),
        ("train.lr=1e-3", ("train.lr", 1e-3)),
        ("run.tensorboard=true", ("run.tensorboard", True)),
        ("data.name=ml-1m", ("data.name", "ml-1m")),
        ('data.name="ml-1m"', ("data.name", "ml-1m")),
        ("evaluate.k=5 10", ("evaluate.k", "5 10")),
        ("data.path=a=b.csv", ("data.path", "a=b.csv")),
        ("run.out=", ("run.out", "")),
        ("model.mlp=[64, 32]", ("model.mlp", "[64, 32]")),
    ],
)
def test_overrides_on_the_command_line(text, expected):
    key, value = parse_override(text)
    assert (key, value) == expected
    assert type(value) is type(expected[1])


def test_an_override_without_a_value():
    with pytest.raises(ConfigError, match="override 'train.rounds': expected key=value"):
        parse_override("train.rounds")


def test_the_hash_follows_what_can_change_a_result():
    base = Config()
    neutral = {
        "run.out": "x",
        "run.name": "y",
        "run.tensorboard": True,
        "data.cache": "z",
        "engine.nodes": 7,
    }
    assert base.with_(neutral).config_hash() == base.config_hash()
    assert base.with_({"train.rounds": 7}).config_hash() != base.config_hash()
    assert base.with_({"run.seed": 1}).config_hash() != base.config_hash()
    assert len(base.config_hash()) == 16


def test_a_key_that_came_later_leaves_hashes_as_they_were():
    base = Config()
    assert all(base.flat()[key] == before for key, before in LATER.items())
    assert base.config_hash() == "9edb1386ee6f61dd"  # of results that are recorded
    for key in LATER:
        assert base.with_({key: "cosine"}).config_hash() != base.config_hash()


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().train.rounds = 3
    changed = Config().with_({"train.rounds": 3})
    assert changed.train.rounds == 3 != Config().train.rounds
    with pytest.raises(ConfigError, match="unknown configuration key"):
        Config().with_({"train.no": 3})
