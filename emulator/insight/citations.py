"""``citations.bib`` of a run: the protocol's paper, the data set, the profiles' and presets' sources, and the platform."""

from collections.abc import Iterator
from typing import Any

from emulator.devices.profile import Profile
from emulator.devices.profile_file import load_profile, profile_names
from emulator.insight.layouts import LATEX
from emulator.learning.datasets import DATASETS
from emulator.presets import load_preset, preset_names
from emulator.pretrained import PRETRAINED
from emulator.protocols.citations import PAPERS, POLICIES, Paper


def citations(resolved: dict[str, Any], version: str) -> str:
    """BibTeX of everything that a resolved scenario names and that has a source."""
    protocol, data, weights = (
        resolved["protocol"]["name"],
        resolved["data"]["dataset"],
        resolved["model"].get("weights"),
    )
    found = [_platform(version)]
    found += [_paper(PAPERS[protocol])] if protocol in PAPERS else []
    chosen = [resolved["protocol"].get(key, {}).get("name") for key in ("sampling", "ending")]
    found += [_paper(POLICIES[name]) for name in chosen if name in POLICIES]
    if data in DATASETS:
        info = DATASETS[data]
        found.append(
            _entry("misc", f"dataset-{data}", {"title": data, "note": f"{info.citation}. Licence: {info.licence}"})
        )
    if weights in PRETRAINED:
        note = f"{PRETRAINED[weights].about}. {PRETRAINED[weights].citation}"
        found.append(_entry("misc", f"weights-{weights}", {"title": weights, "note": note}))
    known = profile_names()
    found += [_profile(load_profile(name)) for name in profiles_of(resolved) if name in known]
    found += [_preset(name) for name in _presets(resolved)]
    return "\n".join(found)


def profiles_of(resolved: dict[str, Any]) -> list[str]:
    """Every profile that a machine of the scenario has, sorted."""
    names = {group["profile"] for group in resolved["devices"]} | {resolved["server"]["profile"]}
    sites = (resolved["network"].get("sites") or {}).values()
    return sorted(names | {site["edge"]["profile"] for site in sites if site.get("edge")})


def _presets(resolved: dict[str, Any]) -> list[str]:
    cells = (resolved["network"].get("cells") or {}).values()
    named = {cell.get("preset") for cell in cells}
    return [name for name in preset_names() if name in named]


def _platform(version: str) -> str:
    about = {"author": "{The edge-emulator maintainers}", "title": "Edge emulator", "note": f"Version {version}"}
    return _entry("software", "edge-emulator", about)


def _paper(paper: Paper) -> str:
    place = {"inproceedings": "booktitle", "article": "journal"}.get(paper.kind, "howpublished")
    found = {"author": paper.author, "title": f"{{{paper.title}}}", place: paper.where, "year": str(paper.year)}
    found |= {"eprint": paper.arxiv, "archiveprefix": "arXiv"} if paper.arxiv else {}
    found |= {"doi": paper.doi} if paper.doi else {}
    return _raw(paper.kind, paper.key, found)


def _profile(profile: Profile) -> str:
    told: dict[str, list[str]] = {}
    for figure, source in profile.sources:
        told.setdefault(f"{source.source} ({source.kind}, {source.date})", []).append(figure)
    return _entry("misc", f"profile-{profile.name}", {"title": profile.about, "note": _joined(told)})


def _preset(name: str) -> str:
    preset = load_preset(name)
    told: dict[str, list[str]] = {}
    for figure, source in preset.sources.items():
        told.setdefault(f"{source['source']} ({source['kind']}, {source['date']})", []).append(figure)
    return _entry("misc", f"cell-{name}", {"title": preset.about, "note": _joined(told)})


def _joined(told: dict[str, list[str]]) -> str:
    return "; ".join(f"{', '.join(figures)}: {words}" for words, figures in told.items())


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    """An entry of plain texts."""
    return _raw(kind, key, {name: _escaped(name, text) for name, text in fields.items()})


def _escaped(name: str, text: str) -> str:
    return text if name == "author" else "".join(LATEX.get(letter, letter) for letter in " ".join(text.split()))


def _raw(kind: str, key: str, fields: dict[str, str]) -> str:
    lines: Iterator[str] = (f"  {name} = {{{text}}},\n" for name, text in fields.items())
    return f"@{kind}{{{key},\n{''.join(lines)}}}\n"
