"""Published training times: the cases are whole and held out, and the page tells what is computed."""

import re
from math import sqrt

import pytest

from benchmarks.published import CASES, PAGE, Case, Row, cost_of, load_cases, middle, predict, seen, within, written
from emulator.devices.profile_file import CATALOGUE, profile_names
from emulator.learning.models import ModelSpec, refusal
from emulator.learning.shards import Plan

# Names that the sources of the catalogue's figures go by, to see that the search below finds what is there.
KNOWN = ("FLASH", "geerlingguy/top500-benchmark")


def case(published_s: float, **changes: object) -> Case:
    fields: dict[str, object] = {
        "name": "tiny", "profile": "raspberry-pi-4", "model": ModelSpec("lenet", 10, (1, 28, 28)), "plan": Plan(5),
        "samples": 5, "published_s": published_s, "source": "made up", "publication": "x", "evidence": "seen", "note": "",
    }  # fmt: skip
    return Case(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [predict(found) for found in load_cases()]


# Exact by hand.
def test_ratio_factor_and_median_by_hand() -> None:
    """Predicted 2, 1, 8 s for 1, 4, 1 s: ratios 2, 1/4, 8; factors 2, 4, 8; the median 4, of the first two sqrt(8)."""
    three = [Row(case(1.0), 2.0), Row(case(4.0), 1.0), Row(case(1.0), 8.0)]
    assert [row.ratio for row in three] == [2, 0.25, 8]
    assert [row.factor for row in three] == pytest.approx([2, 4, 8])
    assert middle(three) == pytest.approx(4)
    assert middle(three[:2]) == pytest.approx(sqrt(8))
    assert (within(three, 4.001), within(three, 1.9)) == (2, 0)


def test_cost_and_scale_by_hand() -> None:
    """LeNet: 2 x 1,131,960 FLOP an image and training step (worked out beside the models); scale multiplies seconds."""
    assert cost_of(case(1.0)).flops == 2 * 5 * 1_131_960
    assert predict(case(1.0, scale=3.0)).predicted_s == pytest.approx(3 * predict(case(1.0)).predicted_s)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="tiny: evidence: got 'heard'; expected one of seen, recalled"):
        case(1.0, evidence="heard")
    with pytest.raises(ValueError, match=r"tiny: got published_s 0\.0, scale 1\.0; expected numbers above zero"):
        case(0.0)
    with pytest.raises(ValueError, match=r"published\.md: got a page without marks"):
        written("no marks", "text")


# ImageNet's ResNet-18 at 224x224: convolutions 1,813,561,344 and the last layer 512,000 multiply-adds; the stem of them is
# 7*7*3*64*112*112.
# Ours at 56x56: the same but for the stem, 3*3*3*64*56*56. A training step is three times that, less the images' gradient.
def test_the_scale_of_resnet18_worked_out_again() -> None:
    stem, small = 49 * 3 * 64 * 112**2, 9 * 3 * 64 * 56**2
    whole = 1_813_561_344 + 512_000
    ours = cost_of(case(1.0, model=ModelSpec("resnet18", 1000, (3, 56, 56)), samples=1, plan=Plan(1))).flops // 2
    assert ours == 3 * (whole - stem + small) - small
    scales = {found.scale for found in load_cases() if found.model.name == "resnet18" and found.scale != 1}
    assert scales == {round((3 * whole - stem) / ours, 3)}


# The cases.
def test_enough_cases_whole_and_told_apart() -> None:
    cases = load_cases()
    assert len({found.name for found in cases}) == len(cases)
    assert sum(found.evidence == "seen" for found in cases) >= 5
    assert len({found.profile for found in cases}) >= 5
    for found in cases:
        assert found.profile in profile_names(), found.name
        assert refusal(found.model) is None, found.name
        assert len(found.source) > 40 and found.note, found.name
        assert found.publication in found.source, found.name


def test_no_source_of_a_case_is_named_in_the_catalogue() -> None:
    catalogue = "".join(path.read_text(encoding="utf-8") for path in sorted(CATALOGUE.glob("*.yaml"))).lower()
    assert all(name.lower() in catalogue for name in KNOWN)
    for found in load_cases():
        assert found.publication.lower() not in catalogue, found.name
        assert found.publication.split("/")[-1].lower() not in catalogue, found.name


# The page.
def test_the_page_tells_the_computed_medians_and_ratios(rows: list[Row]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, part in (("seen", seen(rows)), ("all", rows)):
        told = re.search(rf"^{name}: median factor ([0-9.]+); within 2x: (\d+) of (\d+)", page, re.MULTILINE)
        assert told is not None
        assert (float(told[1]), int(told[2]), int(told[3])) == (round(middle(part), 2), within(part), len(part))
    for row in rows:
        assert re.search(rf"^\| {row.case.name} \|.* {row.ratio:.2f} \|$", page, re.MULTILINE), row.case.name


def test_every_case_outside_2x_is_explained(rows: list[Row]) -> None:
    explained = PAGE.read_text(encoding="utf-8").partition("## Cases outside 2x")[2]
    outside = [row.case.name for row in rows if row.factor > 2]
    assert outside and all(f"**{name}**" in explained for name in outside)


def test_the_file_of_cases_lies_beside_its_module() -> None:
    assert CASES.is_file() and CASES.name == "published.yaml"
