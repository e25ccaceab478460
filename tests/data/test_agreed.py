"""What a merchant has agreed to is its own to say, and holds against the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedrec.config import Config
from fedrec.data.agreed import agreed_keys, agreed_toml, check_agreed, read_agreed
from fedrec.errors import ConfigError, ProtocolError

SECURE = Config().with_(
    {"secure.mode": "malicious-server", "server.rows": "mean", "server.weighting": "equal"}
)
NOISY = SECURE.with_(
    {"privacy.mechanism": "central", "privacy.clip": 1.0, "privacy.noise_multiplier": 1.0}
)


def written(folder: Path, config: Config) -> Path:
    path = folder / "agreed.toml"
    path.write_text(agreed_toml(config))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    agreed = read_agreed(written(tmp_path, SECURE))
    assert agreed == agreed_keys(SECURE)
    assert agreed["secure.mode"] == "malicious-server"
    assert "train.rounds" not in agreed
    assert read_agreed(written(tmp_path, NOISY))["train.rounds"] == SECURE.train.rounds
    check_agreed(SECURE, agreed)
    check_agreed(SECURE.with_({"train.rounds": 7, "secure.registry": "/else/where"}), agreed)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("secure.mode", "off"),
        ("secure.mode", "semi-honest"),
        ("secure.threshold", 2),
        ("secure.rows", "union"),
        ("secure.intervals", "bootstrap"),
        ("server.min_clients", 7),
        ("clients.unit", "merchant"),
    ],
)
def test_a_run_with_another_protection_is_refused(key: str, value: str | int) -> None:
    agreed = agreed_keys(SECURE)
    with pytest.raises(ProtocolError, match=f"agreed to {key} = .* the run has {value!r}"):
        check_agreed(SECURE.with_({key: value}), agreed)


@pytest.mark.parametrize(
    ("key", "value"), [("privacy.noise_multiplier", 0.1), ("train.rounds", 10_000)]
)
def test_a_run_that_spends_more_privacy_is_refused(key: str, value: float) -> None:
    with pytest.raises(ProtocolError, match=key):
        check_agreed(NOISY.with_({key: value}), agreed_keys(NOISY))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "agrees to nothing"),
        ("[secure", "not valid TOML"),
        ('[secure]\nmod = "off"\n', r"secure\.mod.*Did you mean 'secure\.mode'"),
        ('[secure]\nmode = "soft"\n', r"secure\.mode = 'soft'"),
    ],
)
def test_a_bad_file_is_told(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "agreed.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_agreed(path)
    with pytest.raises(ConfigError, match="fedrec deploy init"):
        read_agreed(tmp_path / "no.toml")
