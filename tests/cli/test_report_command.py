import pytest

from fedrec.cli import main
from tests.sample_run import write_sample


def fedrec(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_the_report_of_a_run_is_written_into_it(capsys, tmp_path):
    write_sample(tmp_path / "run")
    code, out, _ = fedrec(capsys, "report", str(tmp_path / "run"))
    assert code == 0
    assert out == f"{tmp_path / 'run' / 'report.html'}\n"
    assert (tmp_path / "run" / "report.html").exists()


def test_a_directory_of_runs_gives_one_report(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "runs" / "a")
    write_sample(tmp_path / "runs" / "b")
    code, out, _ = fedrec(capsys, "report", "runs")
    assert (code, out) == (0, "report.html\n")
    code, out, _ = fedrec(capsys, "report", "runs/a", "runs/b", "--out", "both.html")
    assert (code, out) == (0, "both.html\n")
    assert (tmp_path / "both.html").exists()


def test_an_absent_directory(capsys, tmp_path):
    code, _, err = fedrec(capsys, "report", str(tmp_path / "absent"))
    assert code == 2
    assert "there is no directory" in err


def test_a_directory_without_a_run(capsys, tmp_path):
    code, _, err = fedrec(capsys, "report", str(tmp_path))
    assert code == 2
    assert "there is no result.json in" in err


def test_a_run_that_has_not_finished(capsys, tmp_path):
    (tmp_path / "rounds.jsonl").write_text("")
    code, _, err = fedrec(capsys, "report", str(tmp_path))
    assert code == 2
    assert "resume it with: fedrec run --resume" in err


def test_no_directory(capsys):
    code, _, err = fedrec(capsys, "report")
    assert code == 2
    assert "Missing argument 'DIR...'" in err
