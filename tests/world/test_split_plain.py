"""The split protocols beside plain PyTorch loops: three devices, two rounds, minibatches of 16, SGD with momentum.

The loops know nothing of the platform but where weights start from, the seeds, and who is served first at one back.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emulator.blueprint import Blueprint
from emulator.learning.evaluation import initial_weights
from emulator.learning.random import choose, seed_of
from emulator.protocols.catalogue import PROTOCOLS
from tests.worlds import DIGITS, MLP, final_weights, fleet, plan

ROUNDS, RATE, MOMENTUM, NAMES = 2, 0.1, 0.5, ("device-0000", "device-0001", "device-0002")
EVEN = (32, 32, 32)
UNEVEN = (40, 33, 17)
State = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]
cross_entropy = nn.functional.cross_entropy


def found(name: str, samples: tuple[int, ...], **settings: Any) -> State:
    """The platform's weights at the end."""
    common = {"rounds": ROUNDS, "cohort": 3, "learning_rate": RATE, "momentum": MOMENTUM, "batch_size": 16}
    entry, problem = PROTOCOLS[name], replace(MLP, cut=1)
    blueprint: Blueprint = plan(
        entry.run, entry.settings(**common | settings), fleet(3), samples=samples, problem=problem
    )
    return final_weights(blueprint)


def close(name: str, samples: tuple[int, ...], front: State, back: State, **settings: Any) -> None:
    """The same to 1e-6."""
    weights = found(name, samples, **settings)
    expected = {f"0.{key}": tensor for key, tensor in front.items()} | {
        f"1.{key}": tensor for key, tensor in back.items()
    }
    assert weights.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(weights[key], tensor, atol=1e-6, rtol=1e-5, msg=key)


# ---- plain parts -----------------------------------------------------------------------------------------------------------


def initial() -> tuple[State, State]:
    """Front and back, and their keys without the block's number."""
    weights = initial_weights(seed_of(1, "initial"), model=MLP.model)
    halves = [{key[2:]: tensor for key, tensor in weights.items() if key[0] == block} for block in "01"]
    return halves[0], halves[1]


def new_front(state: State) -> nn.Module:
    front = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU())
    front.load_state_dict(state)
    return front


def new_back(state: State) -> nn.Module:
    back = nn.Linear(128, 10)
    back.load_state_dict(state)
    return back


def sgd(module: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM)


def mean(states: list[State], samples: tuple[int, ...]) -> State:
    shares = [n / sum(samples) for n in samples]
    return {
        key: torch.stack([share * state[key] for share, state in zip(shares, states, strict=True)]).sum(0)
        for key in states[0]
    }


def state_of(module: nn.Module) -> State:
    return {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}


def local(samples: tuple[int, ...], device: int) -> Batch:
    start, stop = list(pairwise(np.cumsum((0, *samples))))[device]
    images = (torch.tensor(DIGITS.x_train[start:stop], dtype=torch.float32) / 16.0 - 0.3054) / 0.3761
    return images, torch.tensor(DIGITS.y_train[start:stop])


def batches(samples: tuple[int, ...], device: int, number: int, size: int = 16) -> Iterator[Batch]:
    """One pass of a device in a round."""
    images, labels = local(samples, device)
    seed = seed_of(1, "batches", NAMES[device], number)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))
    for start in range(0, len(labels), size):
        index = order[start : start + size]
        yield images[index], labels[index]


def answer(back: nn.Module, optimiser: torch.optim.SGD, smashed: Tensor, labels: Tensor) -> Tensor:
    """A step of the server: the cut gradient."""
    values = smashed.detach().requires_grad_()
    optimiser.zero_grad()
    cross_entropy(back(values), labels).backward()
    optimiser.step()
    assert values.grad is not None
    return values.grad


def step(optimiser: torch.optim.SGD, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


# ---- the protocols ---------------------------------------------------------------------------------------------------------


def test_splitfed_v2() -> None:
    """Devices are alike, so each time all three come at once, and then in the order in which they were served."""
    front, whole = initial()
    back = new_back(whole)
    serving = sgd(back)
    for number in range(1, ROUNDS + 1):
        fronts = [new_front(front) for _ in NAMES]
        optimisers = [sgd(own) for own in fronts]
        data = [list(batches(EVEN, device, number)) for device in range(3)]
        ranks = choose(seed_of(1, "order", number), 3, 3)
        for turn in range(2):
            for device in sorted(range(3), key=ranks.__getitem__):
                images, labels = data[device][turn]
                smashed = fronts[device](images)
                gradient = answer(back, serving, smashed, labels)
                optimisers[device].zero_grad()
                smashed.backward(gradient)
                optimisers[device].step()
        front = mean([state_of(own) for own in fronts], EVEN)
    close("splitfed_v2", EVEN, front, state_of(back))


def test_splitfed_v1_with_two_minibatches_under_way() -> None:
    """Minibatch n passes forward before the update of n - 1: its gradient is of older weights, the update of the newest."""
    front, back = initial()
    for number in range(1, ROUNDS + 1):
        fronts, backs = [], []
        for device in range(3):
            own, copy = new_front(front), new_back(back)
            learning, serving = sgd(own), sgd(copy)
            waiting: list[list[Tensor]] = []
            for images, labels in batches(UNEVEN, device, number):
                if len(waiting) == 2:
                    apply(own, learning, waiting.pop(0))
                smashed = own(images)
                gradient = answer(copy, serving, smashed, labels)
                waiting.append(list(torch.autograd.grad(smashed, list(own.parameters()), gradient)))
            for gradients in waiting:
                apply(own, learning, gradients)
            fronts.append(state_of(own))
            backs.append(state_of(copy))
        front, back = mean(fronts, UNEVEN), mean(backs, UNEVEN)
    close("splitfed_v1", UNEVEN, front, back, pipeline=2)


def apply(module: nn.Module, optimiser: torch.optim.SGD, gradients: list[Tensor]) -> None:
    for parameter, gradient in zip(module.parameters(), gradients, strict=True):
        parameter.grad = gradient
    optimiser.step()


def test_parallel_split() -> None:
    """ceil(90 / 16) = 6 steps a round; minibatches of 7, 6 and 3 samples."""
    front, whole = initial()
    back = new_back(whole)
    serving = sgd(back)
    for number in range(1, ROUNDS + 1):
        fronts = [new_front(front) for _ in NAMES]
        optimisers = [sgd(own) for own in fronts]
        data = [list(batches(UNEVEN, device, number, size)) for device, size in enumerate((7, 6, 3))]
        for turn in range(6):
            smashed = [own(data[device][turn][0]) for device, own in enumerate(fronts)]
            labels = torch.cat([data[device][turn][1] for device in range(3)])
            gradients = answer(back, serving, torch.cat(smashed), labels).split([len(part) for part in smashed])
            for optimiser, part, gradient in zip(optimisers, smashed, gradients, strict=True):
                optimiser.zero_grad()
                part.backward(gradient * (len(labels) / len(part)))
                optimiser.step()
        front = mean([state_of(own) for own in fronts], UNEVEN)
    close("parallel_split", UNEVEN, front, state_of(back))


def test_parallel_split_synchronised_in_each_step_is_sgd_on_the_whole_minibatch() -> None:
    """Theory: one step a round, 16 + 16 + 16 of the samples; the whole model in one place, without momentum on the front."""
    weights = initial()
    model = nn.Sequential(new_front(weights[0]), new_back(weights[1]))
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    for number in range(1, ROUNDS + 1):
        drawn = [next(batches(EVEN, device, number)) for device in range(3)]
        images, labels = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        step(optimiser, cross_entropy(model(images), labels))
    close(
        "parallel_split", EVEN, state_of(model[0]), state_of(model[1]), local_steps=1, batch_size=48, momentum=0.0
    )  # fmt: skip


def initial_head() -> State:
    """Drawn like a linear layer: uniform in +-1 / sqrt(128)."""
    generator, reach = torch.Generator().manual_seed(seed_of(1, "initial", "head")), 128**-0.5
    weight = torch.empty(10, 128).uniform_(-reach, reach, generator=generator)
    return {"weight": weight, "bias": torch.empty(10).uniform_(-reach, reach, generator=generator)}


@pytest.mark.parametrize("pipeline", [1, 3])
def test_local_loss(pipeline: int) -> None:
    """Whatever is on the air: no answer is waited for."""
    (front, back), head = initial(), initial_head()
    for number in range(1, ROUNDS + 1):
        states: list[tuple[State, State, State]] = []
        for device in range(3):
            own, guess, copy = new_front(front), new_back(head), new_back(back)
            learning, serving = sgd(nn.ModuleList([own, guess])), sgd(copy)
            for images, labels in batches(UNEVEN, device, number):
                smashed = own(images)
                step(serving, cross_entropy(copy(smashed.detach()), labels))
                step(learning, cross_entropy(guess(smashed), labels))
            states.append((state_of(own), state_of(guess), state_of(copy)))
        front, head, back = (mean(list(parts), UNEVEN) for parts in zip(*states, strict=True))
    close("local_loss", UNEVEN, front, back, pipeline=pipeline)


def test_fedgkt() -> None:
    """Minibatches in the order of the data; alpha 0.7, temperature 2, two epochs at either end. Reported: the first front."""
    start, whole = initial()
    back = new_back(whole)
    serving = sgd(back)
    fronts, guesses = [new_front(start) for _ in NAMES], [new_back(initial_head()) for _ in NAMES]
    told: list[Tensor] = []
    for _ in range(ROUNDS):
        sent = []
        for device, (own, guess) in enumerate(zip(fronts, guesses, strict=True)):
            images, labels = local(UNEVEN, device)
            learning = sgd(nn.ModuleList([own, guess]))
            for part in (part for _ in range(2) for part in torch.arange(len(labels)).split(16)):
                logits = guess(own(images[part]))
                loss = cross_entropy(logits, labels[part])
                step(learning, loss + 0.7 * kl(logits, told[device][part]) if told else loss)
            smashed = own(images).detach()
            sent.append((smashed, labels, guess(smashed).detach()))
        for _ in range(2):
            told = [teach(back, serving, *lesson) for lesson in sent]
    close(
        "fedgkt",
        UNEVEN,
        state_of(fronts[0]),
        state_of(back),
        local_epochs=2,
        server_epochs=2,
        alpha=0.7,
        temperature=2.0,
    )


def teach(back: nn.Module, optimiser: torch.optim.SGD, smashed: Tensor, labels: Tensor, theirs: Tensor) -> Tensor:
    told = []
    for part in torch.arange(len(labels)).split(16):
        logits = back(smashed[part])
        told.append(logits.detach())
        step(optimiser, kl(logits, theirs[part]) + 0.7 * cross_entropy(logits, labels[part]))
    return torch.cat(told)


def kl(mine: Tensor, theirs: Tensor) -> Tensor:
    """4 x the mean over samples of sum p ln(p / q), both at temperature 2."""
    p, q = (theirs / 2).softmax(1), (mine / 2).softmax(1)
    return 4 * (p * (p / q).log()).sum(1).mean()
