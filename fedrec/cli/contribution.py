"""``fedrec contribution``: what each merchant brings, and who should pay whom."""

from __future__ import annotations

import logging

import typer

from fedrec.cli.quiet import import_tensorflow
from fedrec.cli.run import Engine, EngineOption, File, Out, Overrides, Overwrite, read_config
from fedrec.output import output_directory, ready_output


def contribution(
    file: File = None,
    overrides: Overrides = None,
    engine: EngineOption = Engine.in_process,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure what each merchant brings to a federation, and say who should pay whom.

    FILE is an experiment (TOML; without it, the defaults), and KEY=VALUE changes its
    keys: fedrec contribution my.toml contribution.retrain=all. All keys: fedrec config.
    With secure aggregation set contribution.groups = 2.
    """
    config = read_config(file, overrides)
    directory = ready_output(output_directory(config, out), overwrite=overwrite)
    logging.getLogger("flwr").setLevel(logging.WARNING)
    from fedrec.report.sinks import open_sinks

    import_tensorflow()
    with open_sinks(config, directory) as on_event:
        from fedrec.contributing import contributions

        done = contributions(
            config, engine=engine.value, out=directory, overwrite=overwrite, on_event=on_event
        )
    from fedrec.report.contribution import print_contributions

    print_contributions(done.content)
    typer.echo(f"\nresult: {done.directory / 'contribution.json'}")
