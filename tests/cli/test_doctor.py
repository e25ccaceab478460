import pytest

from fedrec.cli import doctor, main
from fedrec.cli.doctor import Finding, check_cache, check_training
from fedrec.errors import DataError
from fedrec.machine import CORE_PACKAGES, describe_machine, package_version, peak_memory_mib


def run_doctor(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_this_installation_is_sound(capsys):
    code, out, err = run_doctor(capsys, "--no-training")
    assert code == 0, out + err
    assert "✗" not in out
    for word in ("fedrec", "processor", "memory", "cache", "tensorflow", "[baselines]"):
        assert word in out
    assert err == ""


def test_a_problem_ends_with_exit_code_2(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "findings", lambda training: [Finding("problem", "x", "broken")])
    code, out, err = run_doctor(capsys)
    assert code == 2
    assert out == "✗ x            broken\n"
    assert "1 problem(s) found" in err


def test_a_missing_package_is_a_problem_and_a_missing_extra_a_note(monkeypatch):
    monkeypatch.setattr(doctor, "package_version", lambda name: None)
    (packages,) = doctor._packages()
    assert packages.state == "problem"
    assert "tensorflow" in packages.text
    extras = list(doctor._extras())
    assert {finding.state for finding in extras} == {"note"}
    assert 'pip install "fedrec[ray]"' in extras[0].text


def test_the_cache(tmp_path):
    (tmp_path / "a").write_bytes(bytes(2**20))
    (finding,) = check_cache(tmp_path)
    assert finding.state == "ok"
    assert f"{tmp_path}: 1 MiB used" in finding.text
    (tmp_path / "file").write_text("")
    (finding,) = check_cache(tmp_path / "file")
    assert finding.state == "problem"
    assert "set FEDREC_CACHE to a directory that is" in finding.text


def test_the_training_check_survives_any_failure():
    def fails(error):
        def train():
            raise error

        return train

    assert check_training(lambda: "3 rounds").text.startswith("3 rounds in ")
    assert check_training(fails(DataError("no data"))) == Finding("problem", "training", "no data")
    assert check_training(fails(OSError("x"))).text == "failed with OSError: x"


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0
    assert set(CORE_PACKAGES) <= set(machine)
    assert package_version("no-such-package-as-this") is None
    assert peak_memory_mib() > 10


def test_gpus_are_named(monkeypatch):
    assert doctor._devices("flwr") == ""
    monkeypatch.setattr("fedrec.training.device.list_gpus", lambda: ["A (1.0)", "B (2.0)"])
    assert doctor._devices("tensorflow") == ", 2 GPU: A (1.0), B (2.0)"
    monkeypatch.setattr("fedrec.training.device.list_gpus", list)
    assert doctor._devices("tensorflow") == ", no GPU (none is needed)"
