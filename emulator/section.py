"""What every block of a scenario is: closed, frozen, finite, strict about types."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from emulator.devices.profile_file import profile_names
from emulator.nearest import unknown


class Section(BaseModel):
    """A block of a scenario."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


def wrong(message: str) -> PydanticCustomError:
    """A finding with its own words; the reader adds file and key."""
    return PydanticCustomError("scenario", "{message}", {"message": message})


def known(what: str, names: Iterable[str]) -> tuple[Any, ...]:
    """A name out of a catalogue: checked with the nearest known name, and an enumeration in the schema."""
    accepted = list(names)

    def check(name: str) -> str:
        if name not in accepted:
            raise wrong(unknown(name, accepted, what))
        return name

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": accepted})


ProfileName = Annotated[str, *known("a profile", profile_names())]
