"""What a run was made with: versions, commit, processor and its instruction set."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import emulator

SETS = ("amx_tile", "avx512_vnni", "avx512f", "avx2", "avx", "sve2", "sve", "asimd", "neon")  # best first


def provenance() -> dict[str, str | None]:
    """Versions, commit (``+dirty`` with uncommitted changes; None outside a checkout), ``cpu`` and ``instruction_set``."""
    model, flags = _processor()
    return {
        "version": emulator.__version__,
        "commit": _commit(Path(emulator.__file__).parent),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "ray": _version("ray"),
        "numpy": _version("numpy"),
        "cpu": model or platform.processor() or platform.machine(),
        "instruction_set": next((name for name in SETS if name in flags), platform.machine()),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> tuple[str | None, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None, set()
    found = dict(line.partition(":")[::2] for line in reversed(lines) if ":" in line)
    values = {key.strip(): value.strip() for key, value in found.items()}
    flags = values.get("flags", values.get("Features", ""))
    return values.get("model name"), set(flags.split())


def _commit(folder: Path) -> str | None:
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+dirty" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
