"""What EcoFed's server knows of its devices: smashed data and labels that they sent, in its replay buffer.

Ours: a device's figure (``policies/``) is that of the present back on its entry, computed at the server; nothing is sent. A
device without an entry is not known yet. It is looked at when the next cohort is chosen, with the weights of then.
"""

from emulator.learning.figures import stored_figure
from emulator.learning.split import Split
from emulator.protocols.policies.figures import Figures
from emulator.protocols.policies.sampling import SamplingSettings
from emulator.protocols.split_cuts import Halves, at_cut, at_cuts
from emulator.protocols.verbs import Node, Value, World

Buffers = dict[str, tuple[Node, Value]]  # by device: an entry belongs to its device's cut


class OfBuffer(Figures):
    """Figures of what is stored. ``parts``: front and back of the round under way, at the server's cut."""

    def __init__(self, world: World, split: Split, buffer: Buffers, sampling: SamplingSettings) -> None:
        super().__init__()
        self._world, self._split, self._buffer, self._sampling = world, split, buffer, sampling
        self.parts: Halves | None = None

    async def probe(self, device: Node) -> Value | None:
        """At the server alone."""
        if device.name not in self._buffer:
            return None
        assert self.parts is not None
        back = (await at_cuts(self._world, self.parts, self._split, [device]))[device.cut][1]
        entry, split = self._buffer[device.name][1], at_cut(self._split, device.cut)
        wanted = self._sampling.figure
        return await self._world.server.compute(stored_figure, back, entry, near=device, split=split, wanted=wanted)
