"""Costs of steps and loops, traced once: a step is run on ``meta`` tensors for each function, settings and shapes.

Three kinds of steps: plain functions, functions that loop by ``repeat`` (only distinct bodies are traced), and generators,
which wait for an answer in their middle (``paired`` below).
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from inspect import isgeneratorfunction
from typing import Any

import torch

from actors.program import path_of, resolve, resume
from actors.values import Pause, Spec, Tree
from emulator.learning.meter import Cost, Meter, Op, active_meter

# ---- loops: only distinct bodies are traced -------------------------------------------------------------------------

_BODIES: dict[Any, tuple[Counter[Op], int]] = {}


def repeat(body: Callable[[Any, Tree], None], state: Any, batches: Any) -> None:
    """``for batch in batches: body(state, batch)``, whose cost is the sum of its bodies' and whose peak is their maximum.

    ``state`` is changed in place and must keep its shapes; it has a hashable ``key`` that, with the batch's shapes, fixes
    what the body does. ``batches`` iterates over real batches, and ``batches.distinct()`` gives (batch, count) pairs, one
    per distinct shape: only those are run on meta, and only once for all devices.
    """
    meter = active_meter()
    if meter is None or not meter.compose:
        for batch in batches:
            body(state, batch)
        return
    distinct: Iterator[tuple[Callable[[], Tree], int]] = batches.distinct()
    for make, count in distinct:
        _measured_body(meter, (body, state), make, count)


def _measured_body(
    meter: Meter, call: tuple[Callable[[Any, Tree], None], Any], make: Callable[[], Tree], count: int
) -> None:
    body, state = call
    outer, outer_peak = meter.ops, meter.peak_bytes
    meter.ops, meter.peak_bytes, base = Counter(), meter.live_bytes, meter.live_bytes
    batch = make()
    key = (body, state.key, Spec.of(batch))
    known = _BODIES.get(key)
    making = meter.ops
    if known is None or meter.detail:
        meter.ops = Counter()
        body(state, batch)
        known = _BODIES[key] = (meter.ops, meter.peak_bytes - base)
    ops, above = known
    meter.peak_bytes = max(outer_peak, meter.peak_bytes, base + above)
    for source in (making, ops):
        for op, times in source.items():
            outer[op] += times * count
    meter.ops = outer


# ---- whole steps -------------------------------------------------------------------------------------------------------

_STEPS: dict[Any, tuple[Any, Cost]] = {}


def measure(function: Callable[..., Tree], inputs: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, Cost]:
    """Result specs and cost of ``function(*inputs, **settings)``; ``inputs`` are ``Spec`` or plain data.

    Results: one ``Spec``, or a tuple of them where the function returns a plain tuple. Traced once per function,
    settings and shapes; plain data (a seed, a learning rate) are not part of the key.
    """
    key: Any = (
        function,
        tuple(settings.items()),
        tuple([item if isinstance(item, Spec) else _structure(item) for item in inputs]),
    )
    found = _STEPS.get(key)
    if found is None:
        found = _STEPS[key] = _trace(function, inputs, settings)
    return found


def _structure(item: Any) -> Any:
    return (type(item), len(item)) if isinstance(item, (tuple, list)) else type(item)


def _trace(function: Callable[..., Tree], inputs: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, Cost]:
    if function is resume:
        return _trace_answer(inputs[0].tree, inputs[1])
    if isgeneratorfunction(function):
        return _trace_question(function, inputs, settings)
    arguments = arguments_of(inputs)
    with Meter() as meter:
        meter.hold(arguments)
        out = function(*arguments, **settings)
        specs = tuple(Spec.of(item) for item in out) if type(out) is tuple else Spec.of(out)
    return specs, meter.cost()


# ---- steps that wait for an answer ---------------------------------------------------------------------------------------
#
# A generator computes a value, yields it, is sent the answer and returns its result: forward, then backward, over a network.
# Both parts are traced by one meter that goes on across the ``yield``: what the first part did is never charged twice, and what
# it keeps (saved activations) is known. The values that it was given stay where they are and are counted there.


def begin(pause: Pause, arguments: list[Any], meter: Meter) -> tuple[Generator[Any, Any, Tree], Any]:
    """Run a step up to its question: the waiting generator, and what it asked."""
    with meter:
        meter.hold(arguments)
        generator = resolve(pause.function)(*arguments, **dict(pause.settings))
        return generator, next(generator)


def finish(generator: Generator[Any, Any, Tree], answer: Tree, meter: Meter) -> Tree:
    """Answer a waiting step; its result. The meter counts this part alone. Raises RuntimeError where it asks again."""
    with meter:
        meter.ops.clear()
        meter.hold(answer)
        meter.peak_bytes = meter.live_bytes
        try:
            generator.send(answer)
        except StopIteration as stop:
            return stop.value
    raise RuntimeError("a step may wait for one answer only")


def arguments_of(inputs: tuple[Any, ...]) -> list[Any]:
    """A step's arguments on ``meta``: tensors for specs, plain data as they are."""
    return [item.meta() if isinstance(item, Spec) else item for item in inputs]


def _trace_question(
    function: Callable[..., Tree], inputs: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[Any, Cost]:
    pause, arguments, meter = (
        Pause(path_of(function), inputs, tuple(settings.items()), 0),
        arguments_of(inputs),
        Meter(),
    )
    generator, asked = begin(pause, arguments, meter)
    cost = meter.cost()
    specs = tuple(Spec.of(item) for item in asked) if type(asked) is tuple else (Spec.of(asked),)
    del asked  # it leaves, and counts where it lies until then; the inputs count where they are, too
    kept = meter.live_bytes - _bytes(inputs)
    generator.close()
    return (*specs, Spec.of(Pause(pause.function, inputs, pause.settings, kept))), cost


def _trace_answer(pause: Pause, answer: Spec) -> tuple[Any, Cost]:
    arguments, meter = arguments_of(pause.inputs), Meter()
    generator = begin(pause, arguments, meter)[0]
    out = finish(generator, answer.meta(), meter)
    specs = tuple(Spec.of(item) for item in out) if type(out) is tuple else Spec.of(out)
    cost = meter.cost()
    return specs, replace(cost, peak_bytes=cost.peak_bytes - _bytes(pause.inputs))


def _bytes(inputs: tuple[Any, ...]) -> int:
    return sum(item.nbytes for item in inputs if isinstance(item, Spec))


def warm_up() -> None:
    """Trace something small: torch's first operators on meta tensors take a second, which may as well pass early."""
    weights = torch.ones(1, 1, 1, 1, device="meta", requires_grad=True)
    with Meter():
        out = torch.nn.functional.conv2d(torch.ones(1, 1, 2, 2, device="meta"), weights).relu().flatten(1)
        loss = torch.nn.functional.cross_entropy(out @ out.T, torch.zeros(1, dtype=torch.int64, device="meta"))
        torch._foreach_add_([weights.detach()], list(torch.autograd.grad(loss, [weights])), alpha=1.0)
