import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from fedrec.cli import main
from fedrec.config import load_config, to_toml
from fedrec.errors import DataError, ModelError
from fedrec.results import save_result
from tests.merchants.markets import EASE, MARKET
from tests.sample_run import sample_result

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Stand in for fedrec.run and fedrec.compare; what they were called with is recorded."""
    made = []

    def execute(config, **options):
        made.append((config, options))
        options["on_event"]({"event": "note", "text": "training"})
        save_result(sample_result(), options["out"])
        return SimpleNamespace(result=sample_result(), directory=options["out"])

    for name in ("run", "compare"):
        module = ModuleType(f"fedrec.{name}")
        setattr(module, name, execute)
        monkeypatch.setitem(sys.modules, f"fedrec.{name}", module)
    monkeypatch.setattr("fedrec.cli.run.import_tensorflow", lambda: None)
    monkeypatch.chdir(tmp_path)
    return made


def failing(monkeypatch, error):
    def execute(config, **options):
        raise error

    module = ModuleType("fedrec.run")
    module.run = execute
    monkeypatch.setitem(sys.modules, "fedrec.run", module)


def fedrec(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_run_reads_the_file_and_the_overrides(calls, capsys, tmp_path):
    (tmp_path / "x.toml").write_text('run.name = "mine"\ntrain.rounds = 7\n')
    code, out, err = fedrec(capsys, "run", "x.toml", "train.rounds=9", "model.dim=8")
    assert code == 0, err
    ((config, options),) = calls
    assert (config.run.name, config.train.rounds, config.model.dim) == ("mine", 9, 8)
    assert options["out"] == tmp_path / "runs" / "mine"
    assert options["engine"] == "in-process"
    assert options["resume"] is None
    assert "federated training costs no measurable HR@10" in out
    assert out.splitlines()[-1] == f"report: {tmp_path / 'runs' / 'mine' / 'report.html'}"
    assert err == "training\n"


def test_the_file_may_be_left_out(calls, capsys):
    assert fedrec(capsys, "run", "train.rounds=2")[0] == 0
    assert calls[0][0].train.rounds == 2


def test_options_reach_the_engine(calls, capsys, tmp_path):
    code, *_ = fedrec(
        capsys, "run", "--engine", "ray", "--out", "there", "--app", "mine", "--overwrite"
    )
    assert code == 0
    options = calls[0][1]
    assert (options["engine"], options["app"], options["overwrite"]) == ("ray", Path("mine"), True)
    assert options["out"] == tmp_path / "there"


def test_compare_takes_systems(calls, capsys):
    assert fedrec(capsys, "compare", "--systems", "federated, ease")[0] == 0
    assert calls[0][1]["systems"] == ["federated", "ease"]


def test_compare_without_systems_leaves_them_to_the_configuration(calls, capsys):
    assert fedrec(capsys, "compare")[0] == 0
    assert calls[0][1]["systems"] is None


def test_no_systems_at_all(calls, capsys):
    code, _, err = fedrec(capsys, "compare", "--systems", " , ")
    assert code == 2
    assert "--systems is empty" in err


def test_resume_takes_the_saved_configuration(calls, capsys, tmp_path):
    saved = tmp_path / "old"
    saved.mkdir()
    (saved / "config.toml").write_text("train.rounds = 11\n")
    assert fedrec(capsys, "run", "--resume", "old")[0] == 0
    config, options = calls[0]
    assert config.train.rounds == 11
    assert options["resume"] == options["out"] == saved


def test_a_comparison_is_resumed_by_compare(calls, capsys, tmp_path):
    (tmp_path / "old" / "systems").mkdir(parents=True)
    (tmp_path / "old" / "config.toml").write_text(to_toml(load_config()))
    code, _, err = fedrec(capsys, "run", "--resume", "old")
    assert code == 2
    assert f"Continue it with: fedrec compare --resume {tmp_path / 'old'}" in err
    assert fedrec(capsys, "compare", "--resume", "old")[0] == 0
    assert calls[0][1]["resume"] == tmp_path / "old"


def test_resume_takes_nothing_else(calls, capsys):
    code, _, err = fedrec(capsys, "run", "train.rounds=3", "--resume", "old")
    assert code == 2
    assert "it takes no file, no key=value, no --out and no --systems" in err


def test_resume_without_a_run(calls, capsys):
    code, _, err = fedrec(capsys, "run", "--resume", "nowhere")
    assert code == 2
    assert "there is no config.toml in it" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "trian.rounds=3"], "unknown configuration key 'trian.rounds'. Did you mean 'train.rounds'?"),
        (["run", "train.rounds=many"], "train.rounds = 'many'"),
        (["run", "absent.toml"], "cannot read the experiment absent.toml: No such file"),
        (["run", "x.toml", "rounds"], "expected key=value, for example train.rounds=50"),
        (["run", "data.feedback=explicit"], "needs model.loss = 'squared'"),
        (["compare", "model.name=keras"], "needs model.source"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(calls, capsys, tmp_path, arguments, message):
    (tmp_path / "x.toml").write_text("")
    code, out, err = fedrec(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert calls == []
    assert not (tmp_path / "runs").exists()


def test_an_existing_run_is_not_touched(calls, capsys, tmp_path):
    assert fedrec(capsys, "run", "run.name=a")[0] == 0
    code, _, err = fedrec(capsys, "run", "run.name=a")
    assert code == 2
    assert "already holds a run. Continue it with: fedrec run --resume" in err
    assert len(calls) == 1
    assert fedrec(capsys, "run", "run.name=a", "--overwrite")[0] == 0


def test_an_unwritable_output_directory(calls, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for command in ("run", "compare"):
        code, _, err = fedrec(capsys, command, "--out", "file/below")
        assert code == 2
        assert "a part of its path, is a file. Choose another with --out DIR" in err


def test_an_unknown_engine(calls, capsys):
    code, _, err = fedrec(capsys, "run", "--engine", "rey")
    assert code == 2
    assert "'rey' is not one of 'in-process', 'ray', 'superlink'" in err


@pytest.mark.parametrize(
    "error", [DataError("unknown data set 'x'"), ModelError("federated-mf diverged")]
)
def test_errors_of_a_run_are_one_line(calls, capsys, monkeypatch, error):
    failing(monkeypatch, error)
    code, _, err = fedrec(capsys, "run", "--no-estimate")
    assert code == 2
    assert err == f"error: {error}\n"


def test_a_fault_of_ours_keeps_its_traceback(calls, monkeypatch):
    failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["run"])


def test_without_the_report_extra_the_result_is_still_told(calls, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, out, _ = fedrec(capsys, "run")
    assert code == 0
    assert "no report.html: " in out
    assert "result.json" in out


def test_interruption_says_how_to_go_on(calls, capsys, monkeypatch, tmp_path):
    failing(monkeypatch, KeyboardInterrupt())
    code, _, err = fedrec(capsys, "run", "run.name=a")
    assert code == 130
    assert f"interrupted; resume with: fedrec run --resume {tmp_path / 'runs' / 'a'}" in err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_real_ctrl_c_or_termination(tmp_path, sent):
    script = tmp_path / "interrupted.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time, types
            import fedrec.cli.run
            from fedrec.cli import main

            def run(config, **options):
                options["on_event"]({"event": "note", "text": "ready"})
                time.sleep(60)

            module = types.ModuleType("fedrec.run")
            module.run = run
            sys.modules["fedrec.run"] = module
            fedrec.cli.run.import_tensorflow = lambda: None
            main(["run", "--no-estimate", "--out", sys.argv[1]])
            """
        )
    )
    child = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # As on a terminal: what is started in the background inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert child.stderr.readline() == "ready\n"
    child.send_signal(sent)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert f"interrupted; resume with: fedrec run --resume {tmp_path / 'out'}" in err
    assert "Traceback" not in err


def test_merchants_have_a_comparison_of_their_own(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    keys = [f"{k}={v}" for k, v in {**MARKET, **EASE, "evaluate.bootstrap": 100}.items()]
    code, out, err = fedrec(capsys, "compare", *keys, "--merchants", "--out", "shops")
    assert code == 0, err
    assert "shop-1" in out
    assert out.splitlines()[-1] == f"for those who decide: {tmp_path / 'shops' / 'merchants.html'}"
    assert (tmp_path / "shops" / "report.html").is_file()
    code, _, err = fedrec(capsys, "compare", "--resume", "shops")
    assert code == 2
    assert f"Continue it with: fedrec compare --merchants --resume {tmp_path / 'shops'}" in err
    code, _, err = fedrec(capsys, "compare", *keys, "--merchants", "--systems", "ease")
    assert code == 2
    assert "leave --systems out" in err
