"""Settings of rounds: how many, with whom, and by which policy."""

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from emulator.protocols.base import Rounds
from emulator.protocols.policies.sampling import TiflSampling
from emulator.protocols.policies.settings import (
    Deadline,
    Endings,
    Foreseen,
    GivenSampling,
    RandomSampling,
    Sampling,
    WaitForAll,
)


class RoundSettings(Rounds):
    """What every synchronous protocol needs. One that cannot do with a policy says why."""

    whole_rounds: ClassVar[str | None] = None  # why a round must wait for all
    whole_work: ClassVar[str | None] = "this protocol needs all of a device's minibatches"  # why nobody trains less
    own_sampling: ClassVar[str | None] = None  # why nobody else chooses the cohort
    foresees: ClassVar[bool] = False  # a device's round time can be predicted
    no_figures: ClassVar[str | None] = "devices' losses are told by full models, and by EcoFed's buffer"  # why none

    cohort: int = Field(ge=1, description="devices that a round trains with, without replacement")
    sampling: Sampling = Field(default=RandomSampling(), description="who is asked")
    ending: Endings = Field(default=WaitForAll(), description="when a round ends, and who counts")

    def everybody(self, devices: int) -> Self:
        """One round with the whole fleet."""
        return self.model_copy(update={"rounds": 1, "cohort": devices})

    def too_many_for(self, fleet: int) -> Iterator[str]:
        """What is wrong with these settings for a fleet of so many devices, as ``key.path: got X; expected Y``."""
        if self.cohort > fleet:
            yield f"protocol.cohort: got {self.cohort}; expected at most the fleet's {fleet} devices"
        elif self.asked > fleet:
            got = f"got {self.ending.name}, which asks {self.asked} devices for a cohort of {self.cohort}"
            yield f"protocol.ending: {got}; expected at most the fleet's {fleet} devices"
        yield from (f"protocol.{words}" for words in self.sampling.misfits(fleet, self.asked))
        if isinstance(self.sampling, GivenSampling):
            largest = max(max(cohort, default=0) for cohort in self.sampling.cohorts)
            if largest >= fleet:
                yield f"protocol.sampling.cohorts: got device {largest}; expected numbers from 0 to {fleet - 1}"

    @property
    def decides_by(self) -> str:
        """The setting for which decisions look at data."""
        return "" if self.sampling.figure is None else self.sampling.decides_by

    @property
    def asked(self) -> int:
        """Devices asked in a round."""
        return self.ending.asked(self.cohort)

    @model_validator(mode="after")
    def _fitting_policy(self) -> Self:
        ending, name = self.ending, self.ending.name
        if name != "all" and self.whole_rounds is not None:
            raise ValueError(f"ending.name: got {name}; expected all, as {self.whole_rounds}")
        if isinstance(ending, Deadline) and ending.late == "partial" and self.whole_work is not None:
            raise ValueError(f"ending.late: got partial; expected cut off, as {self.whole_work}")
        if isinstance(ending, Foreseen) and ending.knowledge == "nominal" and not self.foresees:
            raise ValueError(
                "ending.knowledge: got nominal; expected measured, as round times are predicted for full models only"
            )
        if self.sampling.name != "random" and self.own_sampling is not None:
            raise ValueError(f"sampling.name: got {self.sampling.name}; expected random, as {self.own_sampling}")
        if isinstance(self.sampling, GivenSampling):
            self._given(self.sampling)
        self._fitting_sampling()
        return self

    def _fitting_sampling(self) -> None:
        sampling = self.sampling
        for words in sampling.wrong_for(self.asked, self.rounds):
            raise ValueError(words)
        if sampling.figure is not None and self.no_figures is not None:
            expected = "static" if isinstance(sampling, TiflSampling) else "random, given or tifl"
            raise ValueError(f"{sampling.decides_by}; expected {expected}, as {self.no_figures}")
        if not isinstance(sampling, TiflSampling):
            return
        if sampling.latency == "nominal" and not self.foresees:
            raise ValueError(
                "sampling.latency: got nominal; expected measured, as round times are predicted for full models only"
            )
        if sampling.t_max_s is not None and sampling.latency == "measured" and self.whole_rounds is not None:
            raise ValueError(f"sampling.t_max_s: got {sampling.t_max_s:g}; expected none, as {self.whole_rounds}")

    def _given(self, sampling: GivenSampling) -> None:
        lengths = [len(cohort) for cohort in sampling.cohorts]
        if len(lengths) < self.rounds:
            raise ValueError(
                f"sampling.cohorts: got {len(lengths)} lists; expected one for each of {self.rounds} rounds"
            )
        if max(lengths) > self.asked:
            raise ValueError(f"sampling.cohorts: got {max(lengths)} devices; expected at most the {self.asked} asked")
