"""Run the slow tests and keep what came out.

    python experiments/slow_tests.py [--json FILE]

`make slow` writes experiments/results/slow/tests.json.  The exhaustive part of the test
matrix of secure aggregation is among these tests: every dropout pattern of six clients,
a thousand sessions of a hundred clients, ten thousand mutations of each kind of message.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedrec.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]
COMMAND = ("-m", "pytest", "-m", "slow")


def revision() -> str:
    """Return the commit that is tested, with a mark if files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def outcome(case: ElementTree.Element) -> dict[str, Any]:
    """Return name, outcome and seconds of one test of a JUnit file."""
    bad = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), None)
    name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
    return {"test": name, "outcome": bad or "passed", "seconds": round(float(case.get("time", 0)))}


def main() -> None:
    """Run the tests; the exit status is pytest's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    commit = revision()
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "junit.xml"
        command = [sys.executable, *COMMAND, f"--junitxml={report}"]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    tests = [outcome(case) for case in cases]
    passed = sum(test["outcome"] == "passed" for test in tests)
    if given.json and tests:
        figures = {
            "command": "python " + " ".join(COMMAND),
            "commit": commit,
            "when": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": describe_machine(),
            "passed": passed,
            "not_passed": len(tests) - passed,
            "tests": tests,
        }
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.exit(status)


if __name__ == "__main__":
    main()
