"""Path loss: figures computed from the standard's published table by other means, closed forms, and properties."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.pathloss import FreeSpace, InH, LogDistance, PathLoss, UMa, UMi

MODELS: dict[str, Callable[..., PathLoss]] = {"UMi": UMi, "UMa": UMa, "InH": InH}

# (model, d2D m, f Hz, h_BS, h_UT, LOS dB, NLOS dB). The LaTeX formulas of table 7.4.1-1 as published in the PyPI package
# tr3gpp 0.2.0 (TR 38.901 v19.4) were turned into arithmetic by text substitution and evaluated: no formula was retyped.
# Only d3D and NOTE 1's break point, 4 (h_BS - 1) (h_UT - 1) f / 3e8, are not in that table. At 3.5 GHz UMi's is 210 m.
TABLE = [
    ("UMi", 10, 3.5e9, 10, 1.5, 66.761033, 73.456860),
    ("UMi", 100, 3.5e9, 10, 1.5, 85.314189, 104.643832),
    ("UMi", 200, 3.5e9, 10, 1.5, 91.611220, 115.228841),
    ("UMi", 210, 3.5e9, 10, 1.5, 92.055431, 115.975538),
    ("UMi", 1000, 28e9, 10, 1.5, 124.343490, 159.125020),
    ("UMi", 5000, 0.7e9, 10, 1.5, 146.253434, 149.674252),
    ("UMi", 300, 3.5e9, 10, 10, 95.300907, 118.881030),
    ("UMa", 35, 3.5e9, 25, 1.5, 74.628595, 87.921447),
    ("UMa", 250, 3.5e9, 25, 1.5, 91.678067, 118.207510),
    ("UMa", 600, 3.5e9, 25, 1.5, 100.546464, 133.004520),
    ("UMa", 5000, 2e9, 25, 1.5, 136.865869, 164.116535),
    ("UMa", 500, 6e9, 25, 12, 102.943593, 128.284507),
    ("UMa", 20, 73e9, 25, 1.5, 98.032718, 109.011251),
    ("InH", 1, 3.5e9, 3, 1, 49.327451, 49.327451),
    ("InH", 5, 3.5e9, 3, 1, 55.931104, 58.852216),
    ("InH", 20, 5.2e9, 3, 1.5, 69.248958, 85.004583),
    ("InH", 60, 28e9, 3, 1, 92.109349, 121.446664),
    ("InH", 140, 60e9, 3, 1, 105.091807, 143.774367),
]

# Line of sight of table 7.4.2-1, made in the same way.
DISTANCES = np.array([1.0, 1.2, 3, 5, 6.5, 10, 18, 49, 60, 100, 500])
PROBABILITIES: list[tuple[PathLoss, list[float]]] = [
    (UMi(3.5e9), [1, 1, 1, 1, 1, 1, 1, 0.529543846, 0.432212922, 0.23098475, 0.036000896]),
    (UMa(3.5e9), [1, 1, 1, 1, 1, 1, 1, 0.658004093, 0.570074915, 0.347670837, 0.036344584]),
    (
        InH(3.5e9),
        [1, 1, 0.681827406, 0.445521114, 0.32, 0.28742416, 0.224878501, 0.086889745, 0.062005104, 0.018178196, 8.5e-8],
    ),
    (
        InH(3.5e9, office="open"),
        [1, 1, 1, 1, 0.979036415, 0.931814546, 0.832255479, 0.537154817, 0.512657929, 0.424393969, 0.064148196],
    ),
]


@pytest.mark.parametrize(("name", "d2d", "hz", "bs", "ue", "los", "nlos"), TABLE)
def test_table_of_the_standard(name: str, d2d: float, hz: float, bs: float, ue: float, los: float, nlos: float) -> None:
    model = MODELS[name](hz, bs, ue)
    assert model.los_db(d2d) == pytest.approx(los, abs=1e-6)
    assert model.nlos_db(d2d) == pytest.approx(nlos, abs=1e-6)


@pytest.mark.parametrize(("model", "expected"), PROBABILITIES)
def test_line_of_sight_of_the_standard(model: PathLoss, expected: list[float]) -> None:
    np.testing.assert_allclose(model.los_probability(DISTANCES), expected, rtol=0, atol=1e-9)


def test_shadowing_of_the_standard() -> None:
    # The column "shadow fading std" of table 7.4.1-1.
    pairs = {name: (m(3.5e9).shadowing_db(True), m(3.5e9).shadowing_db(False)) for name, m in MODELS.items()}
    assert pairs == {"UMi": (4, 7.82), "UMa": (4, 6), "InH": (3, 8.03)}


def test_log_distance() -> None:
    # lg 1 = 0 at 1 km; a tenth of the distance is one slope less.
    model = LogDistance()
    assert model.los_db(1000.0) == model.nlos_db(1000.0) == 128.1
    assert model.nlos_db(100.0) == pytest.approx(128.1 - 37.6)
    assert (model.los_probability(3.0), model.shadowing_db(True), model.shadowing_db(False)) == (0, 8, 8)


def test_free_space() -> None:
    # ITU-R P.525: 32.4 + 20 lg f[MHz] + 20 lg d[km] (32.4478 unrounded): 1 km at 1 GHz is 92.45 dB.
    assert FreeSpace(1e9).los_db(1000.0) == pytest.approx(92.4478, abs=1e-4)
    # The amplitude falls by half when the distance doubles: 20 lg 2.
    assert FreeSpace(2e9).los_db(20.0) - FreeSpace(2e9).los_db(10.0) == pytest.approx(20 * math.log10(2))
    assert (FreeSpace(1e9).los_probability(5.0), FreeSpace(1e9).shadowing_db(False)) == (1, 0)


@pytest.mark.parametrize("model", [UMi(3.5e9), UMa(3.5e9)])
def test_no_jump_at_the_break_point(model: UMi | UMa) -> None:
    point = 4 * (model.bs_height_m - 1) * 0.5 * 3.5e9 / 3e8
    assert model.los_db(point * (1 + 1e-9)) - model.los_db(point) == pytest.approx(0, abs=1e-6)


@given(
    st.sampled_from([UMi(3.5e9), UMa(28e9), LogDistance(), FreeSpace(2e9)]),
    st.floats(10, 4999),
    st.floats(1.001, 100),
)
def test_farther_loses_more(model: PathLoss, near: float, factor: float) -> None:
    far = min(near * factor, 5000.0)
    assert model.los_db(far) > model.los_db(near)
    assert model.nlos_db(far) > model.nlos_db(near)
    assert model.nlos_db(far) >= model.los_db(far)
    assert 0 <= model.los_probability(far) <= model.los_probability(near) <= 1


def test_arrays_are_many_numbers() -> None:
    distances = np.array([[10.0, 100.0], [900.0, 5000.0]])
    models: list[PathLoss] = [UMi(3.5e9), UMa(3.5e9), LogDistance(), FreeSpace(2e9)]
    for model in models:
        for method in (model.los_db, model.nlos_db, model.los_probability):
            several = method(distances)
            assert several.shape == (2, 2)
            assert several.tolist() == [[method(float(d)) for d in row] for row in distances]
            assert type(method(10.0)) is float


@pytest.mark.parametrize("distance", [9.99, 5000.1, -1.0, math.nan, math.inf])
def test_distances_out_of_range(distance: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"d2d_m: got {distance}; expected 10 to 5000 m")):
        UMi(3.5e9).los_db(distance)
    with pytest.raises(ValueError, match=re.escape(f"d2d_m: got {distance}; expected 10 to 5000 m")):
        UMa(3.5e9).nlos_db(np.array([100.0, distance]))


def test_other_refusals() -> None:
    with pytest.raises(ValueError, match=r"d3d of d2d_m: got 0\.5; expected 1 to 150 m"):
        InH(3.5e9, 1.5, 1.0).los_db(0.0)
    with pytest.raises(ValueError, match=r"frequency_hz: got 400000000\.0; expected 0\.5e9 to 100e9"):
        UMa(0.4e9)
    with pytest.raises(ValueError, match=r"ue_height_m: got 14; expected 1\.5 to 13\.0 m"):
        UMa(2e9, 25, 14)
    with pytest.raises(ValueError, match=r"ue_height_m: got 1; expected 1\.5 to 22\.5 m"):
        UMi(2e9, 10, 1)
    with pytest.raises(ValueError, match="bs_height_m: got 1; expected above 1 m"):
        UMi(2e9, 1)
    with pytest.raises(ValueError, match=r"d2d_m: got 0\.001; expected at least 0\.02386 m"):
        FreeSpace(1e9).los_db(0.001)
    with pytest.raises(ValueError, match=r"d2d_m: got 0\.0; expected finite, above zero"):
        LogDistance().los_db(0.0)
    with pytest.raises(ValueError, match="office: got 'attic'; expected mixed or open"):
        InH(2e9, office="attic")  # type: ignore[arg-type]
