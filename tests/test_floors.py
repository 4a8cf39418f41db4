"""Imports point down only: every import of every module is parsed, and an offending line fails the test."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = {"network", "actors", "emulator", "scenarios", "benchmarks", "tests"}
RAY_FILES = {"actors/device.py", "actors/aggregator.py", "actors/ray_executor.py", "actors/cluster.py"}

# room -> what it may import of ours, and of the outside (None: anything).
ROOMS: dict[str, tuple[set[str], set[str] | None]] = {
    "network": ({"network"}, {"simpy", "numpy"}),
    "actors": ({"actors"}, {"torch", "numpy", "ray"}),
    "emulator/learning": (
        {"emulator.learning", "actors.program", "actors.values"},
        {"torch", "numpy", "pydantic", "PIL"},
    ),
    "emulator/devices": ({"emulator.devices", "network"}, {"numpy", "simpy", "yaml"}),
    "emulator/protocols": ({"emulator.protocols", "emulator.learning"}, {"pydantic"}),
    "emulator": ({"emulator", "actors", "network", "scenarios"}, None),
}


def room_of(path: Path) -> str:
    """The longest room name that holds the file."""
    name = path.relative_to(ROOT).as_posix()
    return max((room for room in ROOMS if name.startswith(room + "/")), key=len)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in the file, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name for name in submodules if is_module(name)]
            yield from ((node.lineno, name) for name in found or [node.module or ""])


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def sources() -> list[Path]:
    return [path for room in ("network", "actors", "emulator") for path in (ROOT / room).rglob("*.py")]


def offence(path: Path, module: str) -> str | None:
    ours, outside = ROOMS[room_of(path)]
    top = module.split(".")[0]
    if top in OURS:
        fits = any(module == allowed or module.startswith(allowed + ".") for allowed in ours)
        return None if fits else f"may import of ours only {sorted(ours)}"
    if top == "ray" and room_of(path) == "actors":
        return None if path.relative_to(ROOT).as_posix() in RAY_FILES else "imports ray outside its Ray files"
    if outside is None or top in sys.stdlib_module_names or top in outside:
        return None
    return f"may import from outside only {sorted(outside)}"


def test_imports_point_down() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {module}: {words}"
        for path in sources()
        for line, module in imports(path)
        if (words := offence(path, module)) is not None
    ]
    assert not found, "\n".join(found)


def test_the_floor_test_can_fail() -> None:
    link = ROOT / "network" / "link.py"
    assert offence(link, "emulator.world") is not None
    assert offence(link, "torch") is not None
    assert offence(ROOT / "actors" / "tape.py", "ray") is not None
    assert offence(ROOT / "emulator" / "protocols" / "fedavg.py", "actors.tape") is not None
    assert offence(link, "heapq") is None


def test_no_cycle() -> None:
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in sources()
    }
    edges = {name: {module for _, module in imports(path) if module in names} for name, path in names.items()}
    done: set[str] = set()
    trail: list[str] = []

    def visit(name: str) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            trail.append(name)
            for other in sorted(edges[name]):
                visit(other)
            done.add(trail.pop())

    for name in names:
        visit(name)


def test_time_is_read_only_where_it_may_be() -> None:
    allowed = {"emulator/run.py", "emulator/records.py"}  # the run's header and its wall_s
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        for line, module in imports(path)
        if module in ("time", "datetime")
        and path.relative_to(ROOT).as_posix() not in allowed
        and "devices/profile" not in path.as_posix()
    ]
    assert not found, f"virtual time only: {found}"


def test_actors_device_needs_no_torch() -> None:
    reached: set[str] = set()
    waiting = ["actors.device"]
    while waiting:
        name = waiting.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        if name in reached or not path.exists():
            continue
        reached.add(name)
        top = ast.parse(path.read_text()).body  # imports inside functions happen in torch processes only
        for node in top:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(module.split(".")[0] == "torch" for module in modules), f"{name} imports torch"
            waiting += modules
