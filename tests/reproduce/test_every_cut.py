"""What is shown of the small models every day, of the large ones, too: split training at every cut, costs, sub-networks."""

from collections.abc import Callable
from itertools import product

import pytest

from emulator.learning.models import MODELS
from tests.learning import test_inventory, test_meter, test_models, test_submodel
from tests.learning.models import test_cuts, test_meter_agreement
from tests.learning.models.worlds import LARGE
from tests.learning.test_split import FEW, blocks_of, exact, flops_sum

EACH = (
    test_meter.test_flops_layer_by_layer,
    test_meter.test_training_costs_the_same_on_meta_as_on_real_tensors,
    test_meter_agreement.test_meta_equals_real,
    test_cuts.test_front_and_back_equal_the_whole_at_every_cut,
    test_cuts.test_gradients_through_a_cut_equal_those_of_the_whole,
    test_cuts.test_a_training_batch_of_one_and_untouched_inputs,
    test_models.test_front_and_back_make_the_whole_at_every_cut,
    test_models.test_initial_weights_are_the_models_and_nothing_else,
)
UNGROUPED = (
    test_meter.test_a_second_meter_counts_the_same_flops,
    test_meter_agreement.test_flops_equal_pytorchs_own_counter,
)
CUTTABLE = (
    test_submodel.test_the_small_model_says_what_the_masked_one_says,
    test_submodel.test_shapes_are_known_without_data,
    test_submodel.test_what_is_put_back_lies_where_it_was,
)


@pytest.mark.parametrize("name", (*LARGE, *FEW))
def test_every_cut_of_a_large_model(name: str) -> None:
    exact(name, range(1, blocks_of(name)))


@pytest.mark.parametrize("name", (*LARGE, *FEW))
def test_flops_at_every_cut_of_a_large_model(name: str) -> None:
    flops_sum(name, range(1, blocks_of(name)))


CASES = [
    *product(EACH, LARGE),
    *product(UNGROUPED, [name for name in LARGE if "mobilenet" not in name]),  # torch is wrong about groups
    *product([test_meter.test_training_costs_the_same_on_meta_as_on_real_tensors], test_meter.LARGER),
    (test_meter_agreement.test_meta_equals_real_for_a_batch_of_one, "vgg11"),
    *product(
        (
            test_meter_agreement.test_meta_equals_real_with_frozen_statistics,
            test_meter_agreement.test_activations_in_place_would_save_no_memory,
        ),
        ("resnet18", "mobilenetv2"),
    ),
    *product(CUTTABLE, [name for name in LARGE if not MODELS[name].gated]),  # a gate reads all channels
]


@pytest.mark.parametrize(("shown", "name"), CASES)
def test_it_holds_of_a_large_model(shown: Callable[[str], None], name: str) -> None:
    shown(name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LARGE)
def test_meta_gives_the_shapes_of_real_tensors(name: str, training: bool) -> None:
    test_cuts.test_meta_gives_the_shapes_of_real_tensors(name, training)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", LARGE)
def test_parts_sum_to_the_peak_of_a_large_model(name: str, momentum: float) -> None:
    test_inventory.test_parts_sum_to_the_peak_that_the_meter_measured(name, momentum)
