"""fedrec audit from end to end: files, report, command and refusals."""

import json
from pathlib import Path

import pytest

from fedrec.audit.findings import findings
from fedrec.auditing import audit, check
from fedrec.cli import main
from fedrec.config import from_flat, load_config
from fedrec.errors import ConfigError, OutputError
from fedrec.report.audit import load_audit, markdown_audit, markdown_membership
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
    (masks,) = saved["masks"]
    assert masks["sound"] is True
    assert any("masked words of a real update look like random words" in f
               for f in saved["findings"])  # fmt: skip
    assert any("with the client taken out of the sum" in f for f in saved["findings"])
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
                  "Rows with a single contributor", "better than guessing", "absent 0.", "counts 0.",
                  "Structure of masked updates"):  # fmt: skip
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
        ({"audit.shadow_noise": "1 loud"}, "audit.shadow_noise = '1 loud': expected positive"),
        ({"audit.shadow_noise": "0"}, "expected positive numbers"),
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


def test_membership_as_markdown_and_in_the_report():
    found = {
        "protection": "noise 4", "shadows": 64, "users": 100, "auc": 0.52,
        "auc_interval": [0.5, 0.54], "tpr": {"0.001": 0.001, "0.01": 0.02},
        "tpr_interval": {"0.001": [0.0, 0.002], "0.01": [0.01, 0.03]}, "epsilon_low": 0.1,
        "epsilon_seen": 0.2, "epsilon_high": None, "epsilon": 2.5, "delta": 0.006,
    }  # fmt: skip
    saved = {"findings": ["Support.", "Membership of a user."], "membership": [found]}
    text = markdown_membership(saved)
    assert text.startswith("- Membership of a user.\n\n| protection | AUC |")
    assert "| noise 4 | 0.520 (0.500 to 0.540) | 0.10% (0.000 to 0.002) |" in text
    assert "| 0.10 (0.20 seen) | 2.50 (delta 0.006) |" in text


RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"
COMMITTED = sorted(RESULTS.glob("audit*.json"))


def recorded(file):
    saved = json.loads(file.read_text())

    def values(**wanted):
        return [m for m in saved["measurements"] if all(m[k] == v for k, v in wanted.items())]

    return saved, values


@pytest.mark.parametrize("file", COMMITTED, ids=lambda f: f.stem)
def test_a_recorded_audit_is_of_the_experiment(file):
    saved, _ = recorded(file)
    now = load_config(RESULTS.parent / f"{file.stem}.toml").flat()
    neutral = ("run.out", "run.tensorboard", "data.cache", "engine.")
    changed = {k for k, v in saved["config"].items()
               if k in now and now[k] != v and not k.startswith(neutral)}  # fmt: skip
    assert changed == set(), "the experiment has changed since: run it again"
    assert saved["findings"] == findings(saved, load_config(RESULTS.parent / f"{file.stem}.toml"))
    assert [m["sound"] for m in saved["masks"]] == [True]
    assert saved["masks"][0]["auc_clear"] > 0.9


@pytest.mark.parametrize("file", COMMITTED, ids=lambda f: f.stem)
def test_a_recorded_audit_keeps_what_is_promised(file):
    _, values = recorded(file)
    off = {"protection": "off"}
    support = values(audit="support", samples="no negatives", metric="f1", **off)
    signs = values(audit="sign", metric="auc", **off)
    assert min(m["value"] for m in support) >= 0.95
    if "merchants" not in file.stem:  # rows of many users point in many directions
        assert min(m["value"] for m in signs) >= 0.95
    for closed in values(audit="support", protection="secure sum, threshold 5", metric="f1"):
        assert closed["gain"] == [0.0, 0.0]  # the sum tells no more than its counts
    for noisy in values(protection="secure sum, clipping, noise"):
        assert noisy["value"] - (noisy["guess"] or 0.0) < 0.05


def test_a_recorded_bound_of_epsilon_stays_below_the_accountant_s():
    found = [m for file in COMMITTED for m in recorded(file)[0]["membership"]]
    assert {m["protection"] for m in found} >= {"off", "noise 1", "noise 4"}
    for one in found:
        assert one["shadows"] >= 64
        assert one["epsilon"] is None or one["epsilon_low"] <= one["epsilon"]
    (off,) = [m for m in found if m["protection"] == "off"]
    assert off["auc_interval"][0] > 0.6
