"""What a run was made with: versions, commit, processor and its instruction set."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import emulator

# What torch and its libraries choose their kernels by, as /proc/cpuinfo spells it (x86 first, then ARM).
SETS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16",
    "amx_tile", "asimd", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip


def provenance() -> dict[str, str | None]:
    """Versions, ``commit``, ``cpu`` and ``instruction_set``; asks no library to load.

    ``commit`` is the checkout's that holds this package, ``+dirty`` with uncommitted changes; None where the package is
    no part of a checkout. ``instruction_set`` names the extensions in use, or the architecture where none is known.
    """
    cpu, instruction_set = processor(_cpuinfo())
    return {
        "version": emulator.__version__,
        "commit": commit(Path(emulator.__file__)),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "ray": _version("ray"),
        "numpy": _version("numpy"),
        "cpu": cpu or platform.processor() or platform.machine(),
        "instruction_set": instruction_set or platform.machine(),
    }


def processor(cpuinfo: str) -> tuple[str | None, str | None]:
    """Model name and instruction sets (words of ``SETS``) from Linux's ``/proc/cpuinfo``; None where unknown."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())  # the first core speaks for all
    flags = (found.get("flags") or found.get("Features") or "").split()
    sets = " ".join(name for name in SETS if name in flags)
    return found.get("model name") or found.get("Model") or None, sets or None


def commit(file: Path) -> str | None:
    """Commit of the git checkout that tracks ``file``; None without git or where it is not tracked.

    A package installed under somebody's own checkout (``.venv``) must not report that checkout's commit.
    """
    try:
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        head = _git(file.parent, "rev-parse", "HEAD")
        changed = _git(file.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+dirty" if changed else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _git(folder: Path, *words: str) -> str:
    # Started from a git hook, GIT_DIR and its kin would point at another repository.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=20, env=surroundings
    )
    return done.stdout.strip()
