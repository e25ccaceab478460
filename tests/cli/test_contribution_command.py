"""``fedrec contribution`` on the command line: what it prints, and how it ends."""

from fedrec.report.contribution import load_contributions
from tests.cli.test_app import fedrec
from tests.contribution.test_federation import KEYS

WORDS = [f"{key}={value}" for key, value in KEYS.items()]


def test_it_prints_who_brings_what_and_who_pays_whom(capsys, tmp_path):
    out = tmp_path / "out"
    code, told, _ = fedrec(
        capsys, "contribution", *WORDS, "contribution.retrain=off", "--out", str(out)
    )
    assert code == 0
    found = load_contributions(out)
    assert found is not None
    flat = " ".join(told.split())
    assert found["payments"]["sentence"] in flat
    assert all(m["name"] in told for m in found["merchants"])
    assert str(out / "contribution.json") in told
    code, _, error = fedrec(capsys, "contribution", *WORDS, "--out", str(out))
    assert code == 2
    assert "already holds a run" in error


def test_errors_are_one_line(capsys, tmp_path):
    out = str(tmp_path / "out")
    code, _, error = fedrec(capsys, "contribution", "clients.unit=user", "--out", out)
    assert code == 2
    assert "set clients.unit = 'merchant'" in error
    code, _, error = fedrec(capsys, "contribution", "contribution.permutation=3", "--out", out)
    assert code == 2
    assert "contribution.permutations" in error
    assert not (tmp_path / "out").exists()
