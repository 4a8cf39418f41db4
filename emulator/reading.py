"""From a file to a scenario: YAML read safely, overrides applied, and every finding told with file and key."""

import re
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from emulator.nearest import unknown
from emulator.scenario import InProtocol, Scenario, UnknownProtocol, build, schema, shipped


class ScenarioError(ValueError):
    """The user's scenario is wrong: one message with file, key path, what was got and what is accepted."""


class _Loader(yaml.SafeLoader):
    """YAML without objects, without duplicate keys, and with 1e-3 as a number."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is not text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f'duplicate key "{key}"', key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def read_scenario(name: str, overrides: list[str] | None = None) -> Scenario:
    """The scenario in the file ``name`` (or the shipped one of that name) with ``key=value`` overrides.

    Raises ScenarioError.
    """
    path = Path(name)
    if not path.exists() and path.suffix == "":
        path = shipped(name) or path
    data = _load(path)
    for override in overrides or []:
        _override(data, override, path)
    return _validated(data, str(path))


def _load(path: Path) -> dict[str, Any]:
    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), _Loader))
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file, nor a shipped scenario (emulator list scenarios)") from None
    except IsADirectoryError:
        raise ScenarioError(f"{path}: is a folder; expected a YAML file") from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not UTF-8 text; expected a YAML file") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: {_yaml_words(error)}") from None
    except ValueError as error:
        raise ScenarioError(f"{path}: a value cannot be read ({error})") from None
    if not documents or documents == [None]:
        raise ScenarioError(f"{path}: the file is empty; expected a scenario")
    if len(documents) > 1:
        raise ScenarioError(f"{path}: got {len(documents)} YAML documents; expected one")
    if not isinstance(documents[0], dict):
        raise ScenarioError(
            f"{path}: got {type(documents[0]).__name__}; expected a mapping with name, data, model, ..."
        )
    return documents[0]


def _yaml_words(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}: " if mark is not None else ""
    problem = getattr(error, "problem", None) or str(error)
    if "could not determine a constructor" in str(problem):
        problem = (
            f"{problem.removeprefix('could not determine a constructor for ')} is not plain YAML data; tags are refused"
        )
    return f"{place}not a scenario in YAML: {problem}".replace("\n", " ")


_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]+)\]|([0-9]+)")


def _override(data: dict[str, Any], override: str, path: Path) -> None:
    key, equals, text = override.partition("=")
    place = f"{path}: override {override!r}"
    steps: list[str | int] = []
    for part in re.sub(r"\[", ".[", key).split("."):
        match = _STEP.fullmatch(part)
        if not equals or match is None:
            raise ScenarioError(f"{place}: expected key=value, e.g. protocol.rounds=5 or devices[0].count=3")
        steps.append(match[1] if match[1] is not None else int(match[2] or match[3]))
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError):
        raise ScenarioError(f"{place}: the value is not YAML") from None
    _put(data, steps, value, place)


def _put(data: Any, steps: list[str | int], value: Any, place: str) -> None:
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(data, list):
            if not isinstance(step, int) or step >= len(data):
                raise ScenarioError(f"{place}: got [{step}]; the list has {len(data)} entries, counted from 0")
        elif not isinstance(data, dict) or isinstance(step, int):
            raise ScenarioError(f"{place}: there is nothing under {step!r}")
        if following is None:
            data[step] = value
        elif isinstance(data, dict):
            if data.get(step) is None:
                data[step] = {}
            data = data[step]
        else:
            data = data[step]


def _validated(data: dict[str, Any], file: str) -> Scenario:
    try:
        return build(data)
    except UnknownProtocol as error:
        raise ScenarioError(f"{file}: protocol.name: {error}") from None
    except InProtocol as error:
        _refuse(error.error, data.get("protocol"), file, "protocol")
    except ValidationError as error:
        _refuse(error, data, file, "")


def _refuse(error: ValidationError, data: Any, file: str, prefix: str) -> NoReturn:
    # Unknown keys first: a misspelt key is also a missing one, and the misspelling is what helps.
    found = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")[0]
    place = _place(found["loc"], data, prefix)
    raise ScenarioError(f"{file}: {place}: {_words(found)}" if place else f"{file}: {_words(found)}") from None


def _place(loc: tuple[int | str, ...], data: Any, prefix: str) -> str:
    text = prefix
    for item in loc:
        if isinstance(item, int):
            text += f"[{item}]"
            data = data[item] if isinstance(data, list) and item < len(data) else None
            continue
        if isinstance(data, dict) and item not in data and item == data.get("kind"):
            continue  # the tag of a union is no key
        text += f".{item}" if text else item
        data = data.get(item) if isinstance(data, dict) else None
    return text


def _words(found: ErrorDetails) -> str:
    kind, got = found["type"], found["input"]
    if kind == "extra_forbidden":
        return "unknown key" + _did_you_mean(str(found["loc"][-1]))
    if kind == "missing":
        return "missing; it has no default"
    if kind == "scenario":
        return found["msg"]
    if kind == "value_error":
        return found["msg"].removeprefix("Value error, ")
    if kind == "union_tag_invalid":
        context = found["ctx"]
        return unknown(context["tag"], [tag.strip(" '") for tag in context["expected_tags"].split(",")], "a kind")
    if kind == "union_tag_not_found":
        return "missing its kind; expected kind: iid, dirichlet, shards or quantity"
    expected = found["msg"].replace("Input should be", "expected").replace("List should have", "expected a list with")
    expected = re.sub(r"a valid dictionary or instance of \w+", "a mapping", expected)
    return f"got {_short(got)}; {expected}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _did_you_mean(key: str) -> str:
    names: set[str] = set()
    description = schema()
    for part in (description, *description["$defs"].values(), *description["properties"]["protocol"]["oneOf"]):
        names.update(part.get("properties", {}))
    words = unknown(key, sorted(names - {key}), "a key")
    return "; did you mean" + words.rpartition("did you mean")[2] if "did you mean" in words else ""
