"""Flows in arrays."""

import numpy as np

from network.flow import Flow


class Table:
    """A flow a column, without gaps; the last one moves to where one leaves."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.left = np.zeros(16)  # bits
        self.rate = np.zeros(16)  # bit/s
        self.own = np.zeros(16)  # bit/s, alone on its part of the band
        self.snr = np.zeros(16, np.float32)
        self.keys = np.zeros(16, np.uint64)
        self.weight = np.zeros(16)
        self.shared = np.zeros(16)  # flows of the same station
        self.part = np.zeros(16)  # of the band
        self.cap = np.zeros(16)  # bit/s, the flow's own limit
        self.up = np.zeros(16, np.bool_)
        self.through = np.zeros(16, np.bool_)

    def _columns(self) -> list[str]:
        return ["left", "rate", "own", "snr", "keys", "weight", "shared", "part", "cap", "up", "through"]

    def add(self, flow: Flow) -> int:
        """A blank column."""
        slot = len(self.flows)
        if slot == len(self.left):
            for name in self._columns():
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros_like(column)]))
        self.flows.append(flow)
        return slot

    def drop(self, flow: Flow) -> None:
        """Take a column out."""
        slot, last = flow.slot, self.flows.pop()
        if last is flow:
            return
        for name in self._columns():
            column = getattr(self, name)
            column[slot] = column[len(self.flows)]
        self.flows[slot], last.slot = last, slot
