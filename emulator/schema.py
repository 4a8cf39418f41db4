"""JSON Schema of scenario files, for editors and other tools."""

from typing import Any

from emulator.protocols.catalogue import PROTOCOLS
from emulator.scenario import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The whole format: units as patterns with examples, catalogue names as enumerations, an alternative a protocol.

    What takes two keys to judge (a cohort larger than the fleet) is beyond a schema; ``emulator check`` tells it.
    """
    found = Scenario.model_json_schema(mode="validation")
    alternatives = []
    for name, entry in PROTOCOLS.items():
        part = entry.settings.model_json_schema(mode="validation", ref_template="#/$defs/{model}")
        found["$defs"].update(part.pop("$defs", {}))
        part["properties"] = {"name": {"const": name, "description": entry.about}, **part["properties"]}
        part["required"] = ["name", *part.get("required", [])]
        alternatives.append(part)
    # A fleet brings its own devices.
    found["required"].remove("devices")
    found["if"] = {"required": ["fleet"], "properties": {"fleet": {"type": "string"}}}
    found["else"] = {"required": ["devices"]}
    found["properties"]["protocol"] = {"oneOf": alternatives, "description": "what devices and server do"}
    return {"$schema": DIALECT, **found, "title": "Edge emulator scenario"}


def known_keys(keys: tuple[int | str, ...], protocol: str | None) -> list[str]:
    """The keys that a scenario takes under ``keys``; those of the named protocol's block under ``("protocol",)``.

    ``keys`` may hold the tag of a union (a partition's kind) after its key, as pydantic's locations do.
    """
    if keys[:1] == ("protocol",) and protocol in PROTOCOLS:
        own = list(_node(PROTOCOLS[protocol].settings.model_json_schema(), keys[1:])["properties"])
        return own if len(keys) > 1 else ["name", *own]
    return list(_node(Scenario.model_json_schema(), keys)["properties"])


def known_kinds(keys: tuple[int | str, ...], protocol: str | None) -> list[str]:
    """The kinds of block that a scenario takes under ``keys``, as ``known_keys`` takes them."""
    if keys[:1] == ("protocol",) and protocol in PROTOCOLS:
        return list(_node(PROTOCOLS[protocol].settings.model_json_schema(), keys[1:])["discriminator"]["mapping"])
    return list(_node(Scenario.model_json_schema(), keys)["discriminator"]["mapping"])


def _node(description: dict[str, Any], keys: tuple[int | str, ...]) -> dict[str, Any]:
    node = description
    for key in keys:
        node = _followed(node, description)
        tagged = node.get("discriminator", {}).get("mapping", {})
        if key in tagged:
            node = {"$ref": tagged[key]}
        elif isinstance(key, int):
            node = node["items"]
        else:
            # a mapping from names: of a pattern, or out of a list
            entries = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
            node = node.get("properties", {}).get(key, entries)
    return _followed(node, description)


def _followed(node: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in node:  # a block that may be absent
        node = next(option for option in node["anyOf"] if option.get("type") != "null")
    if "$ref" in node:
        found: dict[str, Any] = description["$defs"][node["$ref"].rpartition("/")[2]]
        return found
    return node
