"""What every block of a scenario is: closed, frozen, finite, strict about types."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from emulator.devices.profile import ProfileError
from emulator.devices.profile_file import load_profile, profile_names
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


def with_digest(data: Any, key: str, digest_key: str) -> Any:
    """A block that names a file under ``key``, with the file's SHA-256 beside it: a scenario's hash then covers the file.

    A digest that is given must be the file's. Blocks that name no file come back as they are.
    """
    if not isinstance(data, dict) or not isinstance(data.get(key), str):
        return data
    file = data[key]
    try:
        found = sha256(Path(file).read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise wrong(f"{file}: cannot be read: {reason}; expected a file of numbers") from None
    if data.get(digest_key) not in (None, found):
        raise wrong(f"{file}: got {digest_key} {found}; expected {data[digest_key]}: the file has changed")
    return {**data, digest_key: found}


def _profile(name: str) -> str:
    try:
        load_profile(name)
    except (ProfileError, ValueError) as error:
        raise wrong(" ".join(str(error).split())) from None
    return name


_PROFILE_SCHEMA = {"anyOf": [{"enum": profile_names()}, {"type": "string", "pattern": r"\.yaml$"}]}
ProfileName = Annotated[str, AfterValidator(_profile), WithJsonSchema(_PROFILE_SCHEMA)]
PROFILE = "name of a profile (emulator list profiles), or the path of a .yaml file"
DIGEST = "of the profile's file; null for a shipped one; written when resolved, checked when given"


class Profiled(Section):
    """A block with a ``profile`` and its ``profile_sha256``: what a profile's file holds belongs to a scenario's hash."""

    @model_validator(mode="before")
    @classmethod
    def _sum_up_profile(cls, data: Any) -> Any:
        name = data.get("profile") if isinstance(data, dict) else None
        if isinstance(name, str) and name.endswith(".yaml"):  # what is not there is told of by the field itself
            return with_digest(data, "profile", "profile_sha256") if Path(name).is_file() else data
        if isinstance(data, dict) and data.get("profile_sha256") is not None:
            raise wrong(f"profile_sha256: got one beside {name}; expected none, as no file of one's own is named")
        return data
