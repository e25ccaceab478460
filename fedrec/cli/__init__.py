"""The command line: ``fedrec run | compare | report | data | new | config | doctor``."""

from fedrec.cli.app import main

__all__ = ["main"]
