"""What is written of ADP's claims in docs/adp.md is what their study says."""

from pathlib import Path

from benchmarks.adp_learning import BY_SIZE_CLAIMS, CLAIMS, verdicts

PAGE = Path(__file__).parents[2] / "docs/adp.md"


def test_the_verdicts_are_those_that_are_written() -> None:
    rows = [
        line.split(" | ")
        for line in PAGE.read_text().splitlines()
        if line.startswith(("| fedprox:", "| scaffold:", "| by size:"))
    ]
    assert len(rows) == len(CLAIMS) + len(BY_SIZE_CLAIMS)
    assert [row[-1].removesuffix(" |") for row in rows] == verdicts()
