"""The protocols a scenario can name: settings class and entry point of each."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from emulator.learning.models import ModelSpec
from emulator.protocols.adp_upload import AdpUploadSettings, adp_upload, upload_findings
from emulator.protocols.base import Settings
from emulator.protocols.ecofed import EcoFedSettings, ecofed
from emulator.protocols.elfish import ElfishSettings, elfish, elfish_findings
from emulator.protocols.fedadam import FedAdamSettings, fedadam
from emulator.protocols.fedasync import (
    FedAsyncSettings,
    FrozenFedAsyncSettings,
    SplitFedAsyncSettings,
    fedasync,
)
from emulator.protocols.fedavg import FedAvgSettings, fedavg
from emulator.protocols.fedbuff import (
    FedBuffSettings,
    FrozenFedBuffSettings,
    SplitFedBuffSettings,
    fedbuff,
)
from emulator.protocols.federated_dropout import FederatedDropoutSettings, federated_dropout
from emulator.protocols.fedgkt import FedGKTSettings, fedgkt
from emulator.protocols.fednova import FedNovaSettings, fednova
from emulator.protocols.fedprox import FedProxSettings, fedprox
from emulator.protocols.fedsl import FedSLSettings, fedsl
from emulator.protocols.fjord import FjORDSettings, fjord
from emulator.protocols.heterofl import HeteroFLSettings, heterofl
from emulator.protocols.hierfavg import HierFavgSettings, hierfavg
from emulator.protocols.local_loss import LocalLossSettings, local_loss
from emulator.protocols.parallel_split import ParallelSplitSettings, parallel_split
from emulator.protocols.partial_training import partial_findings
from emulator.protocols.scaffold import ScaffoldSettings, scaffold
from emulator.protocols.semi_async import (
    FrozenSemiAsyncSettings,
    SemiAsyncSettings,
    SplitSemiAsyncSettings,
    semi_async,
)
from emulator.protocols.split_learning import SplitLearningSettings, split_learning
from emulator.protocols.splitfed_v1 import SplitFedV1Settings, splitfed_v1
from emulator.protocols.splitfed_v2 import SplitFedV2Settings, splitfed_v2
from emulator.protocols.tinyfel import TinyFELSettings, tinyfel


def _nothing(settings: Settings, model: ModelSpec) -> Iterator[str]:
    """Settings that go with every model."""
    return iter(())


@dataclass(frozen=True)
class Entry:
    """A protocol: ``await run(world, problem, settings)`` plays it; ``about`` is one line for ``emulator list protocols``;
    ``edges``: every device needs an edge server at its site. ``cuts``: where the model is cut (``CutWork``), device groups
    may have cuts of their own. ``findings``: what is wrong with settings for a model, as ``key.path: got X; expected Y``.
    """

    settings: type[Settings]
    run: Callable[[Any, Any, Any], Awaitable[None]]
    about: str
    edges: bool = False
    cuts: bool = False
    findings: Callable[[Any, ModelSpec], Iterator[str]] = _nothing


PROTOCOLS: dict[str, Entry] = {
    "fedavg": Entry(FedAvgSettings, fedavg, "federated averaging (McMahan et al. 2017)"),
    "fedprox": Entry(FedProxSettings, fedprox, "FedAvg with a proximal term on the device (Li et al. 2020)"),
    "scaffold": Entry(ScaffoldSettings, scaffold, "control variates against drift (Karimireddy et al. 2020)"),
    "fednova": Entry(FedNovaSettings, fednova, "normalised averaging of unequal local work (Wang et al. 2020)"),
    "adp_upload": Entry(
        AdpUploadSettings,
        adp_upload,
        "FedAvg that sends salient filters alone (after Yu et al. 2023)",
        findings=upload_findings,
    ),
    "fedadam": Entry(FedAdamSettings, fedadam, "FedAvg with Adam at the server (Reddi et al. 2021)"),
    "tinyfel": Entry(
        TinyFELSettings, tinyfel, "last layers only, assigned with devices and bandwidth (Chen et al. 2025)"
    ),
    "hierfavg": Entry(HierFavgSettings, hierfavg, "FedAvg over edge servers (Liu et al. 2020)", edges=True),
    "split_learning": Entry(
        SplitLearningSettings,
        split_learning,
        "devices take turns at one split model (Gupta & Raskar 2018)",
        cuts=True,
    ),
    "ecofed": Entry(
        EcoFedSettings,
        ecofed,
        "frozen pre-trained front, int8 smashed data, replay buffer (Wu et al. 2024)",
        cuts=True,
    ),
    "splitfed_v1": Entry(
        SplitFedV1Settings,
        splitfed_v1,
        "split training in parallel, both halves averaged (Thapa et al. 2022)",
        cuts=True,
    ),
    "splitfed_v2": Entry(
        SplitFedV2Settings,
        splitfed_v2,
        "one back for all devices, fronts averaged (Thapa et al. 2022)",
    ),
    "parallel_split": Entry(
        ParallelSplitSettings,
        parallel_split,
        "one back, the devices' minibatches as one (Jeon & Kim 2020)",
    ),
    "local_loss": Entry(
        LocalLossSettings,
        local_loss,
        "an auxiliary head on the device, no cut gradient (Han et al. 2021)",
        cuts=True,
    ),
    "fedgkt": Entry(
        FedGKTSettings,
        fedgkt,
        "devices and server teach each other by logits (He et al. 2020)",
    ),
    "fedsl": Entry(
        FedSLSettings,
        fedsl,
        "SplitFed with pruned fronts, quantised gradients, dropout at the cut (Zhang et al. 2024)",
        cuts=True,
    ),
    "elfish": Entry(
        ElfishSettings,
        elfish,
        "stragglers train other neurons in every cycle (Xu et al. 2019)",
        findings=elfish_findings,
    ),
    "heterofl": Entry(
        HeteroFLSettings, heterofl, "nested sub-networks by device (Diao et al. 2021)", findings=partial_findings
    ),
    "fjord": Entry(
        FjORDSettings,
        fjord,
        "ordered dropout: nested widths drawn by round (Horvath et al. 2021)",
        findings=partial_findings,
    ),
    "federated_dropout": Entry(
        FederatedDropoutSettings,
        federated_dropout,
        "randomly drawn sub-networks for all (Caldas et al. 2018)",
        findings=partial_findings,
    ),
    "fedasync": Entry(FedAsyncSettings, fedasync, "asynchronous: every update mixed in at once (Xie et al. 2019)"),
    "fedbuff": Entry(FedBuffSettings, fedbuff, "asynchronous: a buffer of updates at a time (Nguyen et al. 2022)"),
    "semi_async": Entry(SemiAsyncSettings, semi_async, "what comes in a time window is merged, stragglers go on"),
    "split_fedasync": Entry(SplitFedAsyncSettings, fedasync, "SplitFed v1's client with FedAsync", cuts=True),
    "split_fedbuff": Entry(SplitFedBuffSettings, fedbuff, "SplitFed v1's client with FedBuff", cuts=True),
    "split_semi_async": Entry(SplitSemiAsyncSettings, semi_async, "SplitFed v1's client with a time window", cuts=True),
    "frozen_fedasync": Entry(FrozenFedAsyncSettings, fedasync, "EcoFed's frozen front with FedAsync", cuts=True),
    "frozen_fedbuff": Entry(FrozenFedBuffSettings, fedbuff, "EcoFed's frozen front with FedBuff", cuts=True),
    "frozen_semi_async": Entry(
        FrozenSemiAsyncSettings, semi_async, "EcoFed's frozen front with a time window", cuts=True
    ),
}
