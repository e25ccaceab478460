"""The Flower ServerApp: builds the run from its run-config and starts the strategy."""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedrec.config import from_flat
from fedrec.training.node import prepare
from server.strategy import FedRecStrategy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation that the run-config describes."""
    config = from_flat(context.run_config)
    FedRecStrategy(config, prepare(config)).start(grid)
