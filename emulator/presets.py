"""Presets: cells to choose from, each with its sources. A preset is a cell's settings, written as in a scenario."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from emulator.nearest import unknown
from emulator.yaml_text import load

CATALOGUE = Path(str(files("emulator") / "cells"))


@dataclass(frozen=True)
class Preset:
    """A cell's settings as plain data. ``sources``: where each figure comes from, by key; ``kind`` as in profiles."""

    name: str
    about: str
    settings: dict[str, Any]
    sources: dict[str, dict[str, str]]


def preset_names() -> list[str]:
    """Names of the shipped presets, sorted."""
    return sorted(path.stem for path in CATALOGUE.glob("*.yaml"))


def load_preset(name: str) -> Preset:
    """A shipped preset by name. Raises ValueError with the nearest known name."""
    names = preset_names()
    if name not in names:
        raise ValueError(f"preset: {unknown(name, names, 'a preset')}")
    data = load((CATALOGUE / f"{name}.yaml").read_text(encoding="utf-8"))
    about, sources = data.pop("about"), data.pop("sources")
    return Preset(name, about, data, sources)
