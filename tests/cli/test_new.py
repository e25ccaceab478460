import sys
from types import ModuleType

import pytest

from fedrec.cli import main
from fedrec.errors import OutputError


def test_new_copies_and_says_how_to_go_on(monkeypatch, capsys):
    copied = []
    module = ModuleType("fedrec.engine.apps")
    module.copy_app = copied.append
    monkeypatch.setitem(sys.modules, "fedrec.engine.apps", module)
    with pytest.raises(SystemExit) as ended:
        main(["new", "mine"])
    assert ended.value.code == 0
    assert [str(path) for path in copied] == ["mine"]
    assert "fedrec run EXPERIMENT.toml --app mine" in capsys.readouterr().out


def test_a_directory_that_is_there(monkeypatch, capsys):
    def refuse(directory):
        raise OutputError(f"{directory} is not empty")

    module = ModuleType("fedrec.engine.apps")
    module.copy_app = refuse
    monkeypatch.setitem(sys.modules, "fedrec.engine.apps", module)
    with pytest.raises(SystemExit) as ended:
        main(["new", "mine"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: mine is not empty\n"
