"""``fedrec audit``: what an attacker gets, with and without each protection."""

from __future__ import annotations

import logging

import typer

from fedrec.cli.quiet import import_tensorflow
from fedrec.cli.run import File, Out, Overrides, Overwrite, read_config
from fedrec.errors import MissingExtraError
from fedrec.output import output_directory, ready_output


def audit(
    file: File = None,
    overrides: Overrides = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Attack what the server sees, under every protection, and poison the training.

    FILE is an experiment (TOML; without it, the defaults), and KEY=VALUE changes its
    keys: fedrec audit my.toml audit.rounds="1 20". All keys: fedrec config.
    """
    config = read_config(file, overrides)
    directory = ready_output(output_directory(config, out), overwrite=overwrite)
    logging.getLogger("flwr").setLevel(logging.WARNING)
    from fedrec.report.sinks import open_sinks

    import_tensorflow()
    with open_sinks(config, directory) as on_event:
        from fedrec.auditing import audit as execute

        done = execute(config, out=directory, overwrite=overwrite, on_event=on_event)
    from fedrec.report.audit import print_audit

    print_audit(done.content)
    try:
        from fedrec.report.html import write_report

        typer.echo(f"\nreport: {write_report([directory], directory / 'report.html')}")
    except MissingExtraError as error:
        typer.echo(f"\nresult: {directory / 'audit.json'}\nno report.html: {error}")
