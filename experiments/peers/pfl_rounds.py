"""FedAvg in pfl-research (Granqvist et al., 2024): its simulated backend, on PyTorch."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from arrays import answer, read_work, time_rounds
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel

work, place = read_work()
arrays, hyper = work.arrays, work.hyper
cohorts = arrays["chosen"]
vectors = torch.tensor(arrays["user"])
SERVER = "server."


class OneClient(torch.nn.Module):
    """The model of one client: what the server holds, and a vector of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.own = torch.nn.Parameter(vectors[0].clone())
        table = torch.nn.Embedding.from_pretrained(torch.tensor(arrays["table"]), freeze=False)
        parts: dict[str, torch.nn.Module] = {"table": table}
        for layer in work.layers:
            kernel = arrays[f"weights/{layer}/kernel"]
            parts[layer] = torch.nn.Linear(*kernel.shape)
            parts[layer].weight.data = torch.tensor(kernel.T.copy())
            parts[layer].bias.data = torch.tensor(arrays[f"weights/{layer}/bias"])
        self.server = torch.nn.ModuleDict(parts)

    def forward(self, item: torch.Tensor) -> torch.Tensor:
        """Return the logits [B] of items."""
        rows = self.server["table"](item)
        if not work.layers:
            return rows @ self.own
        x = torch.cat([self.own.expand_as(rows), rows], -1)
        for number, layer in enumerate(work.layers):
            x = self.server[layer](x)
            x = x if number == len(work.layers) - 1 else torch.relu(x)
        return x[:, 0]

    def loss(self, item: torch.Tensor, label: torch.Tensor, **_: Any) -> torch.Tensor:
        """Return the mean logistic loss of a batch."""
        return torch.nn.functional.binary_cross_entropy_with_logits(self(item), label)

    def metrics(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Measure nothing."""
        return {}


class LocalVector(FederatedAveraging):
    """FedAvg whose clients keep a vector of their own."""

    def train_one_user(self, initial: Any, model: Any, data: Any, context: Any) -> Any:
        """Train one client: its vector is set before and kept after."""
        client = int(data.user_id)
        net.own.data.copy_(vectors[client])
        delta, _ = super().train_one_user(initial, model, data, context)
        vectors[client] = net.own.data
        return delta, Metrics()


def make_dataset(client: int) -> PyTorchTensorDataset:
    """Return the samples of one client."""
    items, labels = work.samples(client)
    tensors = (torch.tensor(items.astype(np.int64)), torch.tensor(labels))
    return PyTorchTensorDataset(tensors, user_id=str(client))


net = OneClient()
federated = [value for name, value in net.named_parameters() if name.startswith(SERVER)]
model = PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(federated, lr=1.0))
model._variable_map = {n: v for n, v in model.variable_map.items() if n.startswith(SERVER)}
made = {int(client): make_dataset(int(client)) for client in np.unique(cohorts)}
order = iter(())
backend = SimulatedBackend(
    FederatedDataset(made.__getitem__, lambda: next(order)),
    None,
    postprocessors=[WeightByDatapoints()],
)
train = NNTrainHyperParams(
    local_num_epochs=1, local_learning_rate=hyper["lr"], local_batch_size=hyper["batch"]
)
algorithm = LocalVector()


def run(number: int) -> Any:
    """Train one round: one iteration of pfl's own loop."""
    global order
    order = iter(cohorts[number].tolist())
    params = NNAlgorithmParams(
        central_num_iterations=2,
        evaluation_frequency=10**9,
        train_cohort_size=len(cohorts[number]),
        val_cohort_size=0,
    )
    algorithm._current_central_iteration = 1  # iteration 0 would be evaluated
    algorithm.run(params, backend, model, train, send_metrics_to_platform=False)
    # The server's optimiser is SGD with rate 1: its gradient is the mean update, negated.
    return {
        name.removeprefix(SERVER): -value.grad.numpy() for name, value in model.variable_map.items()
    }


def rename(name: str, value: Any) -> tuple[str, Any]:
    """Return a parameter under the name, and in the shape, of the export."""
    layer, kind = name.split(".")
    if layer == "table":
        return "table", value
    return f"weights/{layer}/{'kernel' if kind == 'weight' else 'bias'}", value.T


seconds, first = time_rounds(work, run)
update = dict(rename(name, value) for name, value in first.items())
answer(place, seconds, update, {name: version(name) for name in ("pfl", "torch")})
