"""fedrec audit from end to end: files, report, command and refusals."""

import json
from pathlib import Path

import pytest

from fedrec.auditing import audit, check
from fedrec.cli import main
from fedrec.config import from_flat, load_config
from fedrec.errors import ConfigError, OutputError
from fedrec.report.audit import load_audit, markdown_audit
from fedrec.report.html import write_report
from fedrec.results import load_result

KEYS = {
    "data.name": "marketplace", "data.users": 50, "data.items": 60, "data.merchants": 2,
    "data.events_per_user": 12.0, "model.dim": 4, "evaluate.k": "5 10", "evaluate.bootstrap": 20,
    "clients.sampling": "fixed", "clients.per_round": 20,
    "audit.rounds": "1 3", "audit.clients": 20, "audit.shadow_passes": 1, "audit.bootstrap": 50,
    "robust.attacks": "promote", "robust.defences": "off median", "robust.rounds": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    told = []
    out = tmp_path_factory.mktemp("audit") / "run"
    return audit(from_flat(KEYS), out=out, on_event=told.append), told


def test_the_content(done):
    found, told = done
    saved = json.loads((found.directory / "audit.json").read_text())
    assert saved == json.loads(json.dumps(found.content))
    assert saved["schema"] == 1
    assert {m["round_number"] for m in saved["measurements"]} == {1, 3}
    assert {m["audit"] for m in saved["measurements"]} == {
        "support", "sign", "interaction", "singletons"
    }  # fmt: skip
    names = [(o["attack"], o["defence"]) for o in saved["robustness"]]
    assert names == [("none", "off"), ("none", "median"), ("promote", "off"), ("promote", "median")]
    assert saved["membership"] == []
    assert any("support F1 1.00" in sentence for sentence in saved["findings"])
    assert saved["command"].startswith("fedrec audit config.toml")
    assert {e["event"] for e in told} == {"note"}


def test_the_federation_that_was_attacked_is_a_result(done):
    result = load_result(done[0].directory)
    assert [s.name for s in result.systems] == ["federated-mf"]
    assert result.systems[0].selected_round == 3
    assert "test.full.hr@10" in result.systems[0].ci95


def test_the_report_has_a_section(done, tmp_path):
    page = write_report([done[0].directory], tmp_path / "report.html").read_text()
    for words in ("Audits: what an attacker gets", "Malicious clients", "secure sum, threshold 5",
                  "Rows with a single contributor", "better than guessing"):  # fmt: skip
        assert words in page
    assert page.count("<svg") >= 2
    assert "Membership of a user" not in page


def test_a_directory_with_a_run_is_refused(done):
    with pytest.raises(OutputError, match="already holds a run"):
        audit(from_flat(KEYS), out=done[0].directory)


def test_a_damaged_audit(tmp_path):
    assert load_audit(tmp_path) is None
    (tmp_path / "audit.json").write_text("{")
    with pytest.raises(OutputError, match="is not an audit of fedrec"):
        load_audit(tmp_path)
    (tmp_path / "audit.json").write_text('{"schema": 99}')
    with pytest.raises(OutputError, match="has schema 99"):
        load_audit(tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"data.feedback": "explicit", "model.loss": "squared"}, "set data.feedback = 'implicit'"),
        ({"audit.shadows": 8}, "expected 0 .* or at least 64"),
        ({"audit.shadows": 64, "clients.unit": "merchant"}, "set clients.unit = 'user'"),
        ({"robust.defences": "medium"}, "unknown defence 'medium'"),
        ({"robust.attacks": "bribe"}, "unknown attack 'bribe'"),
    ],
)
def test_refusals(keys, message):
    with pytest.raises(ConfigError, match=message):
        check(from_flat({**KEYS, **keys}))


def test_rounds_must_be_numbers():
    with pytest.raises(ConfigError, match="audit.rounds = 'last'"):
        from_flat({**KEYS, "audit.rounds": "last"})


def test_what_is_audited_does_not_change_a_run():
    changed = from_flat({**KEYS, "audit.rounds": "2", "robust.rounds": 5})
    assert changed.config_hash() == from_flat(KEYS).config_hash()


def test_merchants_can_be_audited(tmp_path):
    keys = {**KEYS, "clients.unit": "merchant", "data.merchants": 6, "clients.per_round": 4,
            "audit.rounds": "1", "robust.attacks": ""}  # fmt: skip
    found = audit(from_flat(keys), out=tmp_path / "run")
    assert found.content["robustness"] == []
    assert {m["audit"] for m in found.content["measurements"]} == {"support", "sign", "singletons"}


def test_the_command(capsys, tmp_path):
    words = [f"{key}={value}" for key, value in KEYS.items()]
    with pytest.raises(SystemExit) as ended:
        main(["audit", *words, "robust.attacks=", "audit.rounds=1", "--out", str(tmp_path / "a")])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    assert "support F1 1.00" in out
    assert "guessing" in out
    assert (tmp_path / "a" / "report.html").exists()
    with pytest.raises(SystemExit) as ended:
        main(["audit", *words, "audit.shadows=3", "--out", str(tmp_path / "b")])
    assert ended.value.code == 2
    assert "at least 64" in capsys.readouterr().err


def test_an_audit_as_markdown(done):
    text = markdown_audit(done[0].content)
    assert text.startswith("- Without protection and without negatives")
    assert "| which items: support, F1 (no negatives) | 1.000 ▲ (guessing" in text
    assert "| defence | no attack | promote |" in text
    assert "Membership" not in text


COMMITTED = Path(__file__).resolve().parents[2] / "experiments" / "results" / "audit.json"


@pytest.mark.skipif(not COMMITTED.is_file(), reason="no audit has been recorded")
def test_the_recorded_audit_keeps_what_is_promised():
    saved = json.loads(COMMITTED.read_text())
    now = load_config(COMMITTED.parents[1] / "audit.toml").flat()
    neutral = ("run.out", "run.tensorboard", "data.cache", "engine.")
    changed = {k for k, v in saved["config"].items()
               if k in now and now[k] != v and not k.startswith(neutral)}  # fmt: skip
    assert changed == set(), "the experiment has changed since: run it again"

    def values(**wanted):
        return [m for m in saved["measurements"] if all(m[k] == v for k, v in wanted.items())]

    off = {"protection": "off"}
    support = values(audit="support", samples="no negatives", metric="f1", **off)
    signs = values(audit="sign", metric="auc", **off)
    assert min(m["value"] for m in support) >= 0.95
    assert min(m["value"] for m in signs) >= 0.95
    closed = values(audit="support", protection="secure sum, threshold 5", metric="f1")
    assert {m["verdict"] for m in closed} == {"no better than guessing"}
    for found in saved["membership"]:
        assert found["epsilon"] is None or found["epsilon_low"] <= found["epsilon"]
