"""Filling the HTML templates of reports: one place for style, escaping and number formats."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fedrec.errors import MissingExtraError
from fedrec.report.view import number, signed

STYLE = "style.css"


def fill(template: str, context: Mapping[str, Any]) -> str:
    """Return a template of this package with its values filled in, all text escaped.

    Args:
        template: name of the file.
        context: what it shows; `style` is the style sheet of all pages.

    Raises:
        MissingExtraError: if jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise MissingExtraError("jinja2", "report", "report.html") from None
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "signed": signed}
    known = {"style": Markup(_text(STYLE)), **context}
    return environment.from_string(_text(template)).render(known)


def _text(name: str) -> str:
    return files("fedrec.report").joinpath(name).read_text(encoding="utf-8")
