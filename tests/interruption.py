"""Runs that are cut off."""

from __future__ import annotations

import pytest


def cut_after(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    """Interrupt the in-process engine when it is about to train one more round."""
    from fedrec.engine.in_process import InProcessGrid

    deliver = InProcessGrid._deliver
    trained = []

    def counting(self, message):
        if message.metadata.message_type.startswith("train"):
            if len(trained) == rounds:
                raise KeyboardInterrupt
            trained.append(message)
        return deliver(self, message)

    monkeypatch.setattr(InProcessGrid, "_deliver", counting)
