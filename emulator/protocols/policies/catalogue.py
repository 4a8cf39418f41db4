"""The policies that a scenario can name."""

from emulator.protocols.policies.choosing import Choice, GivenChoice, RandomChoice
from emulator.protocols.policies.figures import Means
from emulator.protocols.policies.oort import OortChoice
from emulator.protocols.policies.power_of_choice import LossChoice
from emulator.protocols.policies.sampling import OortSampling, PowerOfChoice, TiflSampling
from emulator.protocols.policies.settings import GivenSampling, Sampling
from emulator.protocols.policies.tifl import TierChoice


def choice_of(means: Means, sampling: Sampling) -> Choice:
    """The way to choose cohorts that a scenario names."""
    if isinstance(sampling, GivenSampling):
        return GivenChoice(means.world, sampling)
    if isinstance(sampling, TiflSampling):
        return TierChoice(means, sampling)
    if isinstance(sampling, OortSampling):
        return OortChoice(means, sampling)
    if isinstance(sampling, PowerOfChoice):
        return LossChoice(means, sampling)
    return RandomChoice(means.world)
