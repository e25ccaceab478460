"""What a result was computed on: processor, memory, versions.

Nothing heavy is imported: versions come from the metadata of the installed
packages, memory from the operating system.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CORE_PACKAGES = (
    "tensorflow", "keras", "flwr", "numpy", "scipy", "pandas", "pydantic", "pyarrow",
)  # fmt: skip
VARIANTS = {"tensorflow": ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos")}
"""Distributions that bring the same package."""
_CONTROL_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def describe_machine() -> dict[str, str | int | float]:
    """Return what a reader needs to judge durations, and to set up the same again.

    Returns:
        "processor", "cores" (usable by this process), "memory_gib", "system",
        "python", and the version of each core package that is installed.
    """
    described: dict[str, str | int | float] = {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": round(memory_gib(), 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return described | {
        name: found for name in CORE_PACKAGES if (found := package_version(name)) is not None
    }


def package_version(name: str) -> str | None:
    """Return the version of an installed distribution, or of a variant of it, or None."""
    for distribution in (name, *VARIANTS.get(name, ())):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gib() -> float:
    """Return the physical memory in GiB; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return 0.0


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that can still be taken without swapping, in bytes; None if unknown.

    In a container that is what its limit leaves, if that is less than the machine has.

    Args:
        root: where /proc and /sys are.
    """
    found = [n for n in (_free_of_machine(root), _free_of_container(root)) if n is not None]
    return min(found, default=None)


def _free_of_machine(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="utf-8").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


def _free_of_container(root: Path) -> int | None:
    """Return what the memory limit of control groups leaves; files that it can drop count as free.

    Version 2 of the files first, then version 1.
    """
    for folder, limit, used, dropped in _CONTROL_GROUPS:
        place = root / folder
        try:
            largest = int((place / limit).read_text(encoding="utf-8"))  # "max": no limit
            current = int((place / used).read_text(encoding="utf-8"))
            told = (place / "memory.stat").read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            continue
        cached = int(told[told.index(dropped) + 1]) if dropped in told else 0
        return max(0, largest - current + cached)
    return None


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
