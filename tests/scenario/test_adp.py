"""What a scenario may say of gates, pruning and dynamic channels, and what is refused before the run."""

from pathlib import Path

import pytest

from emulator.devices.profile_file import load_profile, profile_names
from emulator.reading import ScenarioError, read_scenario

GATED = ("model.name=cnn_gated",)
UPLOAD = "protocol={name: adp_upload, rounds: 1, cohort: 1, learning_rate: 0.1%s}"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.keep_ratio=0"], ["model.keep_ratio: got 0;", "above 0 and at most 1"]),
        (["model.keep_ratio=1.2"], ["model.keep_ratio: got 1.2;", "above 0 and at most 1"]),
        (["model.name=cnn"], ["model.keep_ratio: got 0.7;", "expected none, as cnn has no gates", "cnn_gated"]),
        (
            ["model={name: cnn}", UPLOAD % ""],
            ["model.name: got cnn, which has no gates;", "cnn_gated", "as adp_upload sends filters by their gates"],
        ),
        ([UPLOAD % ", upload_ratio: 0"], ["protocol.upload_ratio: got 0;", "expected"]),
        (["protocol.prune_threshold=-1"], ["protocol.prune_threshold: got -1;", "at least 0"]),
    ],
)
def test_refusals(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ScenarioError) as error:
        read_scenario("adp_small", overrides)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("name", ["scaffold", "fednova", "fedavg"])
def test_the_same_model_with_other_protocols(name: str) -> None:
    block = f"protocol={{name: {name}, rounds: 2, cohort: 10, learning_rate: 0.1}}"
    assert read_scenario("adp_small", [block]).model_spec.keep_ratio == 0.7


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("name: scaffold, prune_threshold: 0.001", "prune_threshold: got 0.001 with option 2; expected option 1"),
        ("name: fednova, prune_threshold: 0.001", "prune_threshold: unknown key"),
    ],
)
def test_pruning_is_refused_where_it_would_count_as_a_gradient(block: str, words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        read_scenario("adp_small", [f"protocol={{{block}, rounds: 2, cohort: 10, learning_rate: 0.1}}"])
    assert words in str(error.value)


def test_split_protocols_know_no_pruning() -> None:
    block = "protocol={name: splitfed_v1, rounds: 1, cohort: 1, learning_rate: 0.1, prune_threshold: 0.1}"
    with pytest.raises(ScenarioError, match=r"prune_threshold: unknown key"):
        read_scenario("adp_small", [block, "model.cut=1"])


def test_groups_say_whether_kernels_skip_channels() -> None:
    groups = read_scenario("adp_small").groups()
    assert [group.profile.dynamic_channels for group in groups] == [False, True]


def test_a_profile_may_say_it_and_a_group_otherwise(tmp_path: Path) -> None:
    source = (Path(__file__).parents[2] / "emulator/devices/catalogue/jetson-nano.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(f"{source}\ndynamic_channels: true\n")
    assert load_profile(str(own)).dynamic_channels
    scenario = read_scenario("adp_small", [f"devices[0].profile={own}", f"devices[1].profile={own}"])
    assert [group.profile.dynamic_channels for group in scenario.groups()] == [True, True]
    scenario = read_scenario("adp_small", [f"devices[0].profile={own}", "devices[0].dynamic_channels=false"])
    assert not scenario.groups()[0].profile.dynamic_channels
    own.write_text(f"{source}\ndynamic_channels: sometimes\n")
    with pytest.raises(ValueError, match=r"own.yaml: dynamic_channels: got 'sometimes'; expected true"):
        load_profile(str(own))


def test_the_same_of_kernels_that_skip_pruned_weights(tmp_path: Path) -> None:
    source = (Path(__file__).parents[2] / "emulator/devices/catalogue/jetson-nano.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(f"{source}\nsparse_kernels: true\n")
    changes = [f"devices[0].profile={own}", "devices[1].sparse_kernels=true", "devices[1].dynamic_channels=false"]
    assert [group.profile.kernels for group in read_scenario("adp_small", changes).groups()] == [(False, True)] * 2
    scenario = read_scenario("adp_small", [*changes, "devices[0].sparse_kernels=false"])
    assert [group.profile.kernels for group in scenario.groups()] == [(False, False), (False, True)]
    own.write_text(f"{source}\nsparse_kernels: 2\n")
    with pytest.raises(
        ValueError, match=r"own.yaml: sparse_kernels: got 2; expected true \(kernels that skip single weights"
    ):
        load_profile(str(own))


def test_no_profile_of_the_catalogue_leaves_anything_out() -> None:
    assert {load_profile(name).kernels for name in profile_names()} == {(False, False)}


def test_the_papers_size_is_a_valid_scenario() -> None:
    """Exact: 16,362,762 parameters with the gates."""
    scenario = read_scenario("adp_vgg_cifar10")
    assert (scenario.model_spec.name, scenario.fleet_size) == ("vgg16_gated", 10)
