"""On which device a node trains, how much it takes at once, and what it does when that is too much.

Imported with TensorFlow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedrec.config import Config
from fedrec.errors import EngineError
from fedrec.machine import available_bytes

log = logging.getLogger("fedrec.training")
Trained = TypeVar("Trained")
_GPU_SHARE = 4  # a block takes a quarter of the free memory: updates and copies need the rest


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
    if not found:
        return
    try:
        if wanted == "cpu":
            tf.config.set_visible_devices([], "GPU")
            return
        for device in found:
            tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError:  # too late to change: it is in use
        if wanted == "cpu" and tf.config.get_visible_devices("GPU"):
            raise EngineError(
                "train.device = 'cpu', but this process has used a GPU before: "
                "start the run in a process of its own"
            ) from None
    tf.config.experimental.enable_tensor_float_32_execution(False)


def device_name(config: Config) -> str:
    """Return what a run trains on: "CPU", or "GPU" with the name of the first one."""
    visible = [] if config.train.device == "cpu" else tf.config.get_visible_devices("GPU")
    if not visible:
        return "CPU"
    details = tf.config.experimental.get_device_details(visible[0])
    return f"GPU {details.get('device_name', '')}".strip()


def block_bytes(config: Config) -> int:
    """Return how many bytes of rows a block of clients may take.

    On the processor `engine.block_mib`, unless that is more than a quarter of the
    memory that is free; on a GPU a quarter of what is free there.
    """
    asked = config.engine.block_mib << 20
    if device_name(config) != "CPU":
        return max(1 << 20, _free_on_gpu() // _GPU_SHARE)
    free = available_bytes()
    return asked if free is None else max(1 << 20, min(asked, free // 4))


def _free_on_gpu() -> int:
    return _gpu_limit() - int(tf.config.experimental.get_memory_info("GPU:0")["current"])


@lru_cache(maxsize=1)
def _gpu_limit() -> int:
    from tensorflow.python.client import device_lib

    found = [d for d in device_lib.list_local_devices() if d.device_type == "GPU"]
    return int(found[0].memory_limit)


def train_in_parts(
    block: NDArray[np.int64], train: Callable[[NDArray[np.int64]], Trained]
) -> Iterator[tuple[NDArray[np.int64], Trained]]:
    """Train a block of clients, in halves where the whole does not fit into memory.

    Clients train apart from each other, so their updates do not depend on it.

    Args:
        block: int64 [C], clients.
        train: trains some of them.

    Yields:
        Some of the clients, ascending, and what `train` returned for them.

    Raises:
        EngineError: if not even one client fits.
    """
    waiting = [block]
    while waiting:
        part = waiting.pop(0)
        try:
            done = train(part)
        except tf.errors.ResourceExhaustedError:
            if len(part) == 1:
                raise EngineError(
                    f"client {part[0]} alone does not fit into the memory of the device: set "
                    "train.batch or model.dim lower, or train.device = 'cpu'"
                ) from None
            half = len(part) // 2
            log.warning(
                "out of memory with %d clients in a block: going on with %d; "
                "set engine.block_mib lower to avoid it",
                len(part),
                half,
            )
            waiting[:0] = [part[:half], part[half:]]
            continue
        yield part, done
