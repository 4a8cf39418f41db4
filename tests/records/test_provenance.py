"""Provenance: processors of other makes, and whose commit it is."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from emulator.provenance import commit, processor, provenance

X86 = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu sse4_2 avx avx2 fma avx512f avx512bw
processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""


def test_processors() -> None:
    assert processor(X86) == ("Some CPU @ 2.00GHz", "sse4_2 avx avx2 fma avx512f avx512bw")
    assert processor(ARM) == ("Raspberry Pi 4 Model B Rev 1.4", "asimd")
    assert processor("") == (None, None)


def test_provenance() -> None:
    found = provenance()
    assert list(found) == ["version", "commit", "python", "torch", "ray", "numpy", "cpu", "instruction_set"]
    assert found["python"] == platform.python_version()
    assert found["cpu"]
    assert found["instruction_set"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with one tracked file."""
    (tmp_path / "tracked.py").write_text("a = 1\n")
    (tmp_path / ".gitignore").write_text("env/\n")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        git(tmp_path, *words)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    """Run git in a folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, env=clean)
    return done.stdout.strip()


def test_commit(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert commit(checkout / "tracked.py") == head
    (checkout / "stray.txt").write_text("")  # untracked: no change of the code
    assert commit(checkout / "tracked.py") == head
    (checkout / "tracked.py").write_text("a = 2\n")
    assert commit(checkout / "tracked.py") == f"{head}+dirty"


def test_an_installed_package_has_no_commit(checkout: Path) -> None:
    # As in somebody's own project: the environment lies in their checkout, ignored by it.
    package = checkout / "env"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert commit(package / "__init__.py") is None


def test_no_checkout(tmp_path: Path) -> None:
    assert commit(tmp_path / "absent" / "file.py") is None
