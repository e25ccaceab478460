import subprocess
import sys
from types import ModuleType

import pytest

import fedrec


def test_importing_fedrec_imports_nothing_heavy():
    script = "import sys, fedrec; print([m for m in ('tensorflow', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_public_names():
    assert set(fedrec.__all__) <= set(dir(fedrec))
    assert fedrec.Config().train.rounds == fedrec.load_config().train.rounds
    assert fedrec.load_config(None, {"train.rounds": 2}).train.rounds == 2


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'fedrec' has no attribute 'trian'"):
        fedrec.trian  # noqa: B018


def test_the_function_wins_over_the_module_of_its_name():
    module = ModuleType("fedrec.run")
    before = vars(fedrec).get("run")
    fedrec.run = module  # what the import system does when the sub-module is loaded
    assert vars(fedrec).get("run") is before
