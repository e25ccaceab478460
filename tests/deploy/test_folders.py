"""The folders of a federation: whole, private to their owners, and never written over."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fedrec.config import Scalar, from_flat
from fedrec.data.agreed import agreed_keys
from fedrec.deploy.folders import Federation, init_federation, run_config
from fedrec.errors import ConfigError, FedrecError
from tests.silo_files import NAMES, silo_values, write_merchants


def planned(folder: Path, **more: Scalar) -> Federation:
    write_merchants(folder)
    given = silo_values(folder, folder / "joined")
    kept = {k: v for k, v in given.items() if not k.startswith("silo.")}
    kept |= {"silo.most_users": 200, "run.out": "", "data.path": "unused.csv"}
    kept |= {k.replace("__", "."): v for k, v in more.items()}
    return Federation(NAMES, from_flat(kept), folder / "items.jsonl", ("shop.example", "127.0.0.1"))


def test_each_folder_has_its_own_secrets_alone(tmp_path: Path) -> None:
    place = tmp_path / "federation"
    fingerprint = init_federation(place, planned(tmp_path, secure__mode="malicious-server"))
    assert fingerprint
    merchants = [place / "merchants" / name for name in NAMES]
    keys = [(m / "node.key").read_bytes() for m in merchants]
    assert len(set(keys)) == len(NAMES)
    secret = [*(m / "node.key" for m in merchants), place / "server" / "server.key"]
    secret.append(place / "authority" / "ca.key")
    for file in secret:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    for file in (f for f in place.rglob("*") if f.is_file()):
        owner = file.relative_to(place).parts[:2]
        for key, merchant in zip(keys, NAMES, strict=True):
            if key in file.read_bytes():
                assert owner == ("merchants", merchant)
    assert not (place / "secrets").exists()


def test_the_server_is_known_by_its_authority_and_all_its_names(tmp_path: Path) -> None:
    place = tmp_path / "federation"
    assert init_federation(place, planned(tmp_path)) == ""
    context = ssl.create_default_context(cafile=str(place / "merchants" / "north" / "ca.crt"))
    assert context.get_ca_certs()
    pem = (place / "server" / "server.crt").read_bytes()
    server = x509.load_pem_x509_certificate(pem)
    authority = x509.load_pem_x509_certificate((place / "authority" / "ca.crt").read_bytes())
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["shop.example", "localhost"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert isinstance(server.public_key(), ec.EllipticCurvePublicKey)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    place, plan = tmp_path / "federation", planned(tmp_path)
    init_federation(place, plan)
    before = {f: f.read_bytes() for f in place.rglob("*") if f.is_file()}
    with pytest.raises(FedrecError):
        init_federation(place, plan)
    assert {f: f.read_bytes() for f in place.rglob("*") if f.is_file()} == before


def test_two_merchants_cannot_hide_in_a_sum(tmp_path: Path) -> None:
    plan = planned(tmp_path, secure__mode="malicious-server")
    two = Federation(NAMES[:2], plan.config, plan.items, plan.hosts)
    with pytest.raises(ConfigError, match="3 merchants or more, not 2"):
        init_federation(tmp_path / "federation", two)
    assert not (tmp_path / "federation").exists()


@pytest.mark.parametrize(
    ("keys", "least"),
    [
        ({}, 2),
        ({"secure__mode": "semi-honest"}, 3),
        ({"secure__mode": "malicious-server", "server__min_clients": 5}, 5),
        ({"privacy__mechanism": "central", "privacy__clip": 1.0, "privacy__noise_multiplier": 1.0,
          "clients__sampling": "poisson"}, 1),
    ],
)  # fmt: skip
def test_no_sum_is_of_a_single_merchant(tmp_path: Path, keys: dict, least: int) -> None:
    config = run_config(planned(tmp_path, **keys))
    assert config.server.min_clients == least
    assert agreed_keys(config)["server.min_clients"] == least


def test_rounds_of_single_merchants_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would show a single one's update"):
        run_config(planned(tmp_path, clients__sampling="fixed", clients__per_round=1))
