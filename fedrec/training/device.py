"""On which device a node trains, how much it takes at once, and what it does when that is too much.

Imported with TensorFlow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import EngineError
from fedrec.machine import available_bytes

log = logging.getLogger("fedrec.training")
Trained = TypeVar("Trained")
_BFLOAT16 = (8, 0)  # the compute capability that brought matrix units for it
_SHARE = 4  # a block takes a quarter of the free memory: updates and copies need the rest


def ready_device(config: Config) -> None:
    """Set TensorFlow up for `train.device`, before it trains anything.

    A GPU gives memory out as it is needed, and multiplies in full float32 (without
    TensorFloat-32), so that its updates are those of the processor to rounding.

    Raises:
        EngineError: if a GPU is asked for and there is none, or the processor is asked
            for after TensorFlow has begun to use a GPU in this process.
    """
    wanted, found = config.train.device, tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not found:
        raise EngineError(
            "train.device = 'gpu', but TensorFlow sees no GPU here: install a driver and "
            "tensorflow[and-cuda] (fedrec doctor tells what is seen), or set train.device = 'auto'"
        )
    if config.train.precision == "mixed" and (wanted == "cpu" or not found):
        log.warning(
            "train.precision = 'mixed' computes in bfloat16: on a processor without units for it "
            "(AMX) float32 is several times faster"
        )
    if not found:
        return
    try:
        if wanted == "cpu":
            tf.config.set_visible_devices([], "GPU")
            return
        for device in found:
            if not _limited(device):  # TensorFlow takes one or the other
                tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError:  # too late to change: it is in use
        if wanted == "cpu" and tf.config.get_visible_devices("GPU"):
            raise EngineError(
                "train.device = 'cpu', but this process has used a GPU before: "
                "start the run in a process of its own"
            ) from None
    tf.config.experimental.enable_tensor_float_32_execution(False)
    _warn_of_old(config, found[0])


def _limited(device: Any) -> int:
    """Return the limit of a GPU whose memory the caller has limited, in bytes; else 0."""
    logical = tf.config.get_logical_device_configuration(device)
    return int(logical[0].memory_limit or 0) << 20 if logical else 0


def _warn_of_old(config: Config, device: Any) -> None:
    """Say that mixed precision gains nothing on a GPU without matrix units for bfloat16."""
    capability = tf.config.experimental.get_device_details(device).get("compute_capability")
    if config.train.precision == "mixed" and capability and tuple(capability) < _BFLOAT16:
        log.warning(
            "train.precision = 'mixed' computes in bfloat16, for which this GPU (compute "
            "capability %d.%d, 8.0 is needed) has no matrix units: expect float32 to be faster",
            *capability[:2],
        )


def device_name(config: Config) -> str:
    """Return what a run trains on: "CPU", or "GPU" with the name of the first one."""
    visible = [] if config.train.device == "cpu" else tf.config.get_visible_devices("GPU")
    if not visible:
        return "CPU"
    details = tf.config.experimental.get_device_details(visible[0])
    return f"GPU {details.get('device_name', '')}".strip()


def list_gpus() -> list[str]:
    """Return the name and compute capability of every GPU that TensorFlow sees."""
    found = []
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        capability = ".".join(str(part) for part in details.get("compute_capability", ()))
        name = details.get("device_name", "unnamed")
        found.append(f"{name} (compute capability {capability or 'unknown'})")
    return found


def block_bytes(config: Config) -> int:
    """Return how many bytes of rows a block of clients may take.

    On the processor `engine.block_mib`, unless that is more than a quarter of the
    memory that is free; on a GPU a quarter of what is free there.
    """
    asked = config.engine.block_mib << 20
    if device_name(config) != "CPU":
        return max(1 << 20, _free_on_gpu() // _SHARE)
    free = available_bytes()
    return asked if free is None else max(1 << 20, min(asked, free // _SHARE))


def _free_on_gpu() -> int:
    """Return how many bytes of the first GPU are neither used nor beyond its limit."""
    used = int(tf.config.experimental.get_memory_info("GPU:0")["current"])  # readies the GPU
    limit = _limited(tf.config.get_visible_devices("GPU")[0])
    return (limit or _gpu_limit()) - used


@lru_cache(maxsize=1)
def _gpu_limit() -> int:
    """Return what TensorFlow may take of the first GPU, in bytes."""
    from tensorflow.python.client import device_lib

    found = [d for d in device_lib.list_local_devices() if d.device_type == "GPU"]
    return int(found[0].memory_limit)


def train_in_parts(
    blocks: Iterable[NDArray[np.int64]], train: Callable[[NDArray[np.int64]], Trained]
) -> Iterator[tuple[NDArray[np.int64], Trained]]:
    """Train blocks of clients, in halves where a whole one does not fit into memory.

    Clients train apart from each other, so their updates do not depend on it.  Blocks
    are made to take about the same memory, so those that follow begin with as many
    parts as the last one needed.

    Args:
        blocks: each int64 [C], clients.
        train: trains some of them.

    Yields:
        Some of the clients of a block, ascending, and what `train` returned for them.

    Raises:
        EngineError: if not even one client fits.
    """
    parts = 1
    for block in blocks:
        waiting = [(part, parts) for part in _cut(block, parts)]
        while waiting:
            part, depth = waiting.pop(0)
            parts = max(parts, depth)
            try:
                done = train(part)
            except tf.errors.ResourceExhaustedError:
                _say_full(part)
                waiting[:0] = [(half, 2 * depth) for half in _cut(part, 2)]
                continue
            yield part, done


def _cut(block: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    return np.array_split(block, min(parts, len(block)))


def _say_full(part: NDArray[np.int64]) -> None:
    """Log that clients did not fit together; refuse if it is a single one."""
    if len(part) == 1:
        raise EngineError(
            f"client {part[0]} alone does not fit into the memory of the device: set "
            "train.batch or model.dim lower, or train.device = 'cpu'"
        ) from None
    log.warning(
        "out of memory with %d clients in a block: going on with halves of %d; on the "
        "processor a lower engine.block_mib avoids it",
        len(part),
        -(-len(part) // 2),
    )
