"""Profiles drawn within the uncertainties of their figures, and what holds for any drawn profile."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from emulator.devices.profile import FACTORED, Profile


def factored(profile: Profile) -> list[str]:
    """The figures (keys of a profile's file) that this profile has and that a factor can multiply."""
    return [key for key, names in FACTORED.items() if any(getattr(profile, name) is not None for name in names)]


def drawn_within(profile: Profile, stream: Callable[..., np.random.Generator]) -> Profile:
    """The profile with each figure times exp(uncertainty z), z standard normal from stream("uncertainty", name, figure).

    Rates of single classes of operators move with the general one. Raises ValueError as ``possible``.
    """
    told = dict(profile.sources)
    keys = [key for key in factored(profile) if key in told and told[key].uncertainty > 0]
    normal = {key: float(stream("uncertainty", profile.name, key).standard_normal()) for key in keys}
    return possible(profile.within_uncertainty(normal))


def possible(profile: Profile) -> Profile:
    """The drawn profile if its figures go together; a device that computes draws at least what it draws idle.

    Raises ValueError where less memory is left than the system takes.
    """
    if profile.free_memory_bytes <= 0:
        got = f"{profile.memory_bytes} bytes, of which the system takes {profile.reserved_memory_bytes}"
        raise ValueError(f"{profile.name}: memory: got a draw of {got}; expected more than that")
    if profile.idle_w is not None and profile.load_w is not None and profile.load_w < profile.idle_w:
        return replace(profile, load_w=profile.idle_w)
    return profile
