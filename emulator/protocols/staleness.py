"""How much an update weighs that comes late: functions of its staleness, the server versions since its device was asked.

Xie, Koyejo & Gupta, "Asynchronous Federated Optimization" (FedAsync), arXiv 1903.03934, section 5: constant, polynomial and
hinge; their exponent of 0.5 is also FedBuff's 1 / sqrt(1 + staleness) (Nguyen et al., AISTATS 2022, arXiv 2106.06639).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Staleness(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Constant(_Staleness):
    """Late or not, an update weighs the same."""

    kind: Literal["constant"]

    def weight(self, staleness: int) -> float:
        """Always 1."""
        return 1.0


class Polynomial(_Staleness):
    """(staleness + 1) to the power of -a."""

    kind: Literal["polynomial"]
    a: float = Field(default=0.5, gt=0, description="exponent; 0.5 is FedBuff's 1 / sqrt(1 + staleness)")

    def weight(self, staleness: int) -> float:
        """1 for a fresh update, less and less for later ones."""
        return float((staleness + 1.0) ** -self.a)


class Hinge(_Staleness):
    """1 up to a staleness of b, and 1 / (a (staleness - b) + 1) above."""

    kind: Literal["hinge"]
    a: float = Field(default=10.0, gt=0, description="how fast the weight falls beyond b")
    b: float = Field(default=4.0, ge=0, description="staleness up to which an update weighs in full")

    def weight(self, staleness: int) -> float:
        """1 up to b."""
        return 1.0 if staleness <= self.b else 1.0 / (self.a * (staleness - self.b) + 1.0)


Staleness = Annotated[Constant | Polynomial | Hinge, Field(discriminator="kind")]
SQUARE_ROOT = Polynomial(kind="polynomial")
