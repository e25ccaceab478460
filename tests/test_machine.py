"""Free memory, as the system tells it and as a container limits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedrec.machine import available_bytes

NEW = ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
OLD = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
       "total_inactive_file")  # fmt: skip


def machine(root: Path, free_kib: int) -> None:
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(f"MemTotal: 9999 kB\nMemAvailable:  {free_kib} kB\n")


def container(root: Path, files: tuple[str, str, str, str], limit: str, used: int) -> None:
    folder, first, second, dropped = files
    (root / folder).mkdir(parents=True)
    (root / folder / first).write_text(f"{limit}\n")
    (root / folder / second).write_text(f"{used}\n")
    (root / folder / "memory.stat").write_text(f"anon 7\n{dropped} 50\n")


def test_this_system_tells_its_free_memory() -> None:
    free = available_bytes()
    assert free is not None
    assert free > 1 << 20


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None


@pytest.mark.parametrize("files", [NEW, OLD])
@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [("1000", 400, 650), ("1000", 2000, 0), ("9000000", 0, 4096)],
)
def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, files: tuple[str, str, str, str], limit: str, used: int, expected: int
) -> None:
    machine(tmp_path, 4)
    container(tmp_path, files, limit, used)
    assert available_bytes(tmp_path) == expected


def test_a_container_without_a_limit(tmp_path: Path) -> None:
    machine(tmp_path, 4)
    container(tmp_path, NEW, "max", 400)
    assert available_bytes(tmp_path) == 4096
