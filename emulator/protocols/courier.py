"""How weights go out to those that train, and their updates come back: as they are, or coded.

With ``fp32`` both ways a tensor travels as it is, and nothing is computed. With any other codec weights are encoded once, where
they are, and decoded by each receiver; what comes back is the update alone, new minus received, encoded by the sender, decoded
where the weights came from and added to the weights there. All of that takes time at the node that does it.
"""

from collections.abc import Awaitable
from typing import Any, NamedTuple

from emulator.learning.codecs import Codec, Shapes, codec_of
from emulator.learning.coding import (
    coding_of,
    decode_update,
    decode_weights,
    encode_update,
    encode_weights,
    encode_with_feedback,
)
from emulator.learning.tracing import measure
from emulator.protocols.policies.cohorts import Cohorts, Watch
from emulator.protocols.settings import PLAIN, CodedWork
from emulator.protocols.verbs import Node, Value, World


class Courier:
    """A run's traffic of weights and updates; ``residuals``: what each sender's coding has left out so far, kept there."""

    def __init__(self, world: World, settings: CodedWork, cohorts: Cohorts | None = None) -> None:
        self.world, self.cohorts = world, cohorts
        self.plain = settings.weights_codec == settings.update_codec == PLAIN
        self.feedback = settings.error_feedback
        self.weights: Codec | None = None if settings.weights_codec == PLAIN else codec_of(settings.weights_codec)
        self.update = codec_of(settings.update_codec)
        self.residuals: dict[str, Value] = {}

    async def offer(self, weights: Value, place: Node | None = None, *, turn: int = 0) -> "Offer":
        """Weights at a place (the server unless told), ready to be taken; ``turn``: of several from one place in a round."""
        place, coded = place or self.world.server, None
        names = (self.world.round, *((turn,) if turn else ()))
        seed = 0 if self.weights is None else self.seed(place, names)
        if self.weights is not None:
            coded = await place.compute(encode_weights, weights, seed, codec=self.weights)
        return Offer(self, place, weights, coded, seed, names)

    def seed(self, node: Node, names: tuple[int, ...]) -> int:
        """Of what a node encodes."""
        return self.world.seed("coded", node.name, *names)


class Offer(NamedTuple):
    """Weights at a place, and what goes over the network in their stead, encoded with a seed.

    ``names`` key what is random on those that take them: the round and turn, unless told otherwise.
    """

    courier: Courier
    place: Node
    weights: Value
    coded: Value | None
    seed: int
    names: tuple[int, ...]

    def to(self, node: Node) -> "Errand":
        """One receiver's part."""
        return Errand(self, node)

    def take(self, node: Node) -> Awaitable[Value]:
        """The weights, at a node."""
        return self.to(node).take()

    @property
    def update_bytes(self) -> int:
        """Bytes of a node's answer, overhead included."""
        if self.courier.plain:
            return int(self.weights.nbytes)
        return sum(sum(coding_of(name, self.courier.update).bits(shape)) for name, shape in self.shapes)

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the weights."""
        return tuple((name, leaf.shape) for name, leaf in self.weights.spec.tree.items())


class Errand:
    """One node takes the weights that are offered, and brings what became of them. What it received stays there till then."""

    def __init__(self, offer: Offer, node: Node) -> None:
        self._offer = offer
        self._node = node
        self._received: Value = None

    def take(self) -> Awaitable[Value]:
        """The weights, at the node."""
        offer, cohorts = self._offer, self._offer.courier.cohorts
        held = None if cohorts is None else cohorts.held(self._node)
        if held is not None:  # it was asked ahead of the round
            return offer.courier.world.spawn(self._keep(held))
        if offer.courier.plain:
            return offer.place.send(offer.weights, to=self._node, kind="weights")
        return offer.courier.world.spawn(self._take())

    async def _keep(self, held: Value) -> Value:
        self._received = None if self._offer.courier.plain else held
        return held

    async def _take(self) -> Value:
        offer, codec = self._offer, self._offer.courier.weights
        if codec is None:
            self._received = await offer.place.send(offer.weights, to=self._node, kind="weights")
        else:
            coded = offer.place.send(offer.coded, to=self._node, kind="weights")
            self._received = await self._node.compute(
                decode_weights, coded, offer.seed, codec=codec, shapes=offer.shapes
            )
        return self._received

    def heard_by(self) -> float | None:
        """The virtual second by which the node must send to be heard before the round ends; None where all are waited for."""
        cohorts = self._offer.courier.cohorts
        if cohorts is None or not cohorts.partial:
            return None
        return cohorts.heard_by(self._node, self._offer.update_bytes, self._coding_s())

    def watch(self) -> Watch:
        """What stops the node's work in pieces in time."""
        courier = self._offer.courier
        if courier.cohorts is None:
            return Watch(courier.world, None, self.shortened)
        return courier.cohorts.watch(self._node, self.heard_by())

    def shortened(self, rest_s: float) -> None:
        """The node trains less than it should, to be heard in time: all of it would have lasted so much longer."""
        if self._offer.courier.cohorts is not None:
            self._offer.courier.cohorts.shortened(self._node, rest_s)

    def _coding_s(self) -> float:
        """Nominal seconds that an update's coding takes, at both ends."""
        offer, courier, like = self._offer, self._offer.courier, self._offer.weights.spec
        if courier.plain:
            return 0.0
        encoding = encode_with_feedback if courier.feedback else encode_update
        made, _ = measure(encoding, (like, like, 0), {"codec": courier.update})
        coded = made[0] if courier.feedback else made
        ahead = self._node.predict(encoding, like, like, 0, codec=courier.update).seconds
        return float(ahead + offer.place.predict(decode_update, like, coded, 0, codec=courier.update).seconds)

    def bring(self, new: Any, *, kind: str = "update") -> Awaitable[Value]:
        """New weights (a value, or a verb that gives it), at the place that the old ones came from."""
        offer = self._offer
        if offer.courier.cohorts is not None:
            offer.courier.cohorts.leaving(self._node)
        if offer.courier.plain:
            return self._node.send(new, to=offer.place, kind=kind)
        return offer.courier.world.spawn(self._bring(new, kind))

    async def _bring(self, new: Any, kind: str) -> Value:
        offer, node, courier = self._offer, self._node, self._offer.courier
        seed, left = courier.seed(node, offer.names), None
        if courier.feedback:
            before = [courier.residuals[node.name]] if node.name in courier.residuals else []
            coded, left = await node.compute(
                encode_with_feedback, self._received, new, seed, *before, codec=courier.update
            )
        else:
            coded = await node.compute(encode_update, self._received, new, seed, codec=courier.update)
        self._received = new = None
        sent = await node.send(coded, to=offer.place, kind=kind)
        if left is not None:  # of what was lost on the way nothing is known
            courier.residuals[node.name] = left
        return await offer.place.compute(decode_update, offer.weights, sent, seed, codec=courier.update)
