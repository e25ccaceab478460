from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedrec.config import Config, from_flat, load_config
from fedrec.data.interactions import Catalogue
from fedrec.errors import ModelError
from fedrec.models.build import build_model
from fedrec.models.keras_adapter import KerasRecommender
from fedrec.models.mf import MatrixFactorisation

ITEMS = Catalogue(np.array(["a", "b"], object))
ROOT = Path(__file__).parents[2]
DIGEST = """
import hashlib, random, sys
import numpy as np
from fedrec.config import from_flat
from fedrec.data.interactions import Catalogue
from fedrec.models.build import build_model
if sys.argv[1] == "late":  # what happened before must not matter
    import keras
    random.random(), keras.layers.Dense(3)
model = build_model(from_flat({"model.name": "ncf", "model.dim": 4, "run.seed": 3}))
weights = model.init_shared(Catalogue(np.array(["a", "b"], object)), 3).weights
print(hashlib.sha256(b"".join(n.encode() + v.tobytes() for n, v in weights.items())).hexdigest())
"""


def keras_config(source: str, **keys: str) -> Config:
    return from_flat({"model.name": "keras", "model.source": source, "model.dim": 4, **keys})


def weights_of(config: Config) -> dict[str, np.ndarray]:
    return build_model(config).init_shared(ITEMS, config.run.seed).weights


def test_mf_as_the_configuration_says() -> None:
    keys = {"model.dim": 7, "model.init": 0.2, "model.loss": "bpr"}
    assert build_model(from_flat(keys)) == MatrixFactorisation(7, "bpr", 0.2)
    ratings = {"data.feedback": "explicit", "model.loss": "squared", "data.rating_high": 10.0,
               "model.dim": 7, "model.init": 0.2}  # fmt: skip
    expected = MatrixFactorisation(7, "squared", 0.2, True, (1.0, 10.0))
    assert build_model(from_flat(ratings)) == expected


def test_the_seed_decides_initial_weights_and_nothing_else_does() -> None:
    config = from_flat({"model.name": "ncf", "model.dim": 4})
    first = weights_of(config)
    random.random()
    state = random.getstate()
    again, other = weights_of(config), weights_of(config.with_({"run.seed": 1}))
    assert random.getstate() == state  # the caller's randomness is left alone
    assert first.keys() == again.keys() == other.keys()
    assert all((first[n] == again[n]).all() for n in first)
    assert (first["head/kernel"] != other["head/kernel"]).any()


def test_initial_weights_are_the_same_in_every_process() -> None:
    digests = set()
    for when, hash_seed in (("early", "1"), ("late", "2")):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, when],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
        )
        digests.add(done.stdout.strip().splitlines()[-1])
    assert len(digests) == 1


def test_a_file_of_ones_own() -> None:
    model = build_model(load_config(ROOT / "experiments/own_model.toml"))
    assert isinstance(model, KerasRecommender)
    assert set(model.rows) == {"item", "item_bias"}
    assert model.personal_layers == ("taste",)


def test_a_module_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_models.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from fedrec.models.ncf import build_ncf\n"
        "@dataclass(frozen=True)\n"
        "class Widths:\n"
        "    hidden: tuple[int, ...] = (4,)\n"
        "def build(config):\n"
        "    return build_ncf(config.model.dim, Widths().hidden, config.model.loss)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for source in ("shop_models:build", f"{tmp_path}/shop_models.py:build"):
        model = build_model(keras_config(source))
        assert isinstance(model, KerasRecommender)
        assert model.rows == {"item_gmf": 4, "item_mlp": 4}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("own_model.py", "model.source = 'own_model.py': expected 'file.py:function'"),
        (":build", "expected 'file.py:function'"),
        ("nowhere.py:build", "there is no file .*nowhere.py"),
        ("no_such_module_here:build", "cannot import 'no_such_module_here'"),
        ("experiments/own_model.py:biuld", "no 'biuld' in experiments/own_model.py. Did you mean"),
    ],
)
def test_a_source_that_cannot_be_had(source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(keras_config(source))


def test_a_source_that_builds_no_recommender(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def build(config):\n    return [1, 2]\n")
    with pytest.raises(ModelError, match=r"returned list, which has no 'row_inputs'; expected"):
        build_model(keras_config(f"{tmp_path}/wrong.py:build"))


def test_a_source_that_learns_from_other_feedback(tmp_path: Path) -> None:
    (tmp_path / "fixed.py").write_text(
        "from fedrec.models.ncf import build_ncf\n"
        "def build(config):\n    return build_ncf(4, (4,), 'logistic')\n"
    )
    ratings = {"data.feedback": "explicit", "model.loss": "squared"}
    with pytest.raises(ModelError, match=r"kind = 'logistic' where model.loss = 'squared'"):
        build_model(keras_config(f"{tmp_path}/fixed.py:build", **ratings))


def test_unknown_names_and_losses() -> None:
    with pytest.raises(ModelError, match="unknown model.name 'nfc'. Did you mean 'ncf'"):
        build_model(from_flat({"model.name": "nfc"}))
    with pytest.raises(ModelError, match="'bpr' is for model.name = 'mf', not 'ncf'"):
        build_model(from_flat({"model.name": "ncf", "model.loss": "bpr"}))
