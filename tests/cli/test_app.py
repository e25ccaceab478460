import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedrec.cli import main

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "keras", "pandas", "matplotlib", "flwr", "scipy", "jinja2")


def fedrec(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def started(*arguments: str) -> tuple[float, subprocess.CompletedProcess]:
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "fedrec", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return time.monotonic() - begin, done


def test_help_lists_every_command(capsys):
    code, out, _ = fedrec(capsys, "--help")
    assert code == 0
    for command in ("run", "compare", "report", "data", "new", "config", "doctor"):
        assert f" {command} " in out


def test_version(capsys):
    from fedrec import __version__

    assert fedrec(capsys, "--version") == (0, f"fedrec {__version__}\n", "")


def test_an_unknown_command(capsys):
    code, _, err = fedrec(capsys, "trian")
    assert code == 2
    assert "No such command 'trian'" in err


@pytest.mark.parametrize("arguments", [["--help"], ["config"], ["data", "list"]])
def test_light_commands_import_nothing_heavy(arguments):
    script = (
        "import sys\nfrom fedrec.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["data", "list"]])
def test_light_commands_start_at_once(arguments):
    # make bench records seconds; a ratio to the libraries of a command line alone holds on slow
    # and busy machines too, with the best of three of both in turn.  It is 2.5 or less; what
    # HEAVY names takes more than these libraries each.
    libraries = "import typer, pydantic, rich.console, rich.table, numpy"
    own, others = [], []
    for _ in range(3):
        others.append(timed([sys.executable, "-c", libraries]))
        own.append(started(*arguments)[0])
    assert min(own) < 3.5 * min(others)


def timed(command: list[str]) -> float:
    begin = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - begin


def test_output_that_is_not_a_terminal_has_no_colour():
    _, done = started("config", "train")
    assert "\x1b" not in done.stdout


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m fedrec config --toml | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[run]\n"
    assert done.stderr == ""
