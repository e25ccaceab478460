"""Where measured figures go: a JSON file that also says on what machine, when and by what."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import fedrec
from fedrec.machine import describe_machine
from fedrec.output import write_atomically


def write_figures(file: Path, figures: dict[str, Any]) -> None:
    """Write figures with the circumstances in which they were measured.

    Args:
        file: to write; its directory is created.
        figures: what was measured; the keys machine, fedrec and date are added.

    Raises:
        OutputError: if it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "machine": describe_machine(),
        "fedrec": fedrec.__version__,
        "date": date.today().isoformat(),
    }
    write_atomically(file, json.dumps({**figures, **about}, indent=1) + "\n")
