"""TensorBoard event files, written by TensorFlow alone.

The scalars are marked for TensorBoard's scalar dashboard by hand, so that the
package `tensorboard` is needed to look at them and not to write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedrec.report.history import parse_round

SCALARS = "scalars"  # the name of TensorBoard's plugin


class TensorBoardSink:
    """Writes loss, clients, seconds, bytes and validation metrics of every round.

    Each system and seed is a TensorBoard run of its own: `<directory>/<system>-seed<seed>`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: Any = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take one event; rounds before any system start go to `run`."""
        kind = event.get("event")
        if kind == "system-start":
            self._open(f"{event.get('system', 'run')}-seed{event.get('seed', 0)}")
        elif kind == "round":
            if self._writer is None:
                self._open("run")
            self._round(event)
        elif kind == "system-done":
            self.close()

    def close(self) -> None:
        """Flush and close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, name: str) -> None:
        import tensorflow as tf

        self.close()
        self._writer = tf.summary.create_file_writer(str(self._directory / name))

    def _round(self, event: Mapping[str, Any]) -> None:
        import tensorflow as tf

        line = parse_round(dict(event))
        values: dict[str, float] = {
            "round/clients": line.clients,
            "round/seconds": line.seconds,
            "round/bytes_up": line.bytes_up,
            "round/bytes_down": line.bytes_down,
        }
        if line.loss is not None:
            values["train/loss"] = line.loss
        values |= {f"valid/{name}": value for name, value in (line.valid or {}).items()}
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=SCALARS),
            data_class=1,  # DATA_CLASS_SCALAR
        )
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.write(name, tf.constant(value, tf.float32), line.number, metadata)
        self._writer.flush()
