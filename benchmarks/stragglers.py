"""The study of stragglers: 200 mixed devices, three systems, several policies, paired seeds; who is fast, and who pays.

Systems: the full model (FedAvg), a split model (EcoFed) and masked stragglers (ELFISH), all on ``scenarios/stragglers``. A run ends
at the target (validation accuracy) or after its rounds; one that never reaches it is counted as such and enters no mean.
``python -m benchmarks.stragglers`` prints the tables; finished runs are kept in ``results/studies``.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median

from benchmarks.study import Result, Study

POLICIES = {
    "wait for all": (),
    "over-selection": ("protocol.ending={name: first, over: 1.5}",),
    "deadline": ("protocol.ending={name: quantile, quantile: 0.8}",),
    "adaptive deadline": ("protocol.ending={name: adaptive, wanted: 0.8}",),
    "TiFL": ("protocol.sampling={name: tifl}",),
    "Oort": ("protocol.sampling={name: oort}",),
}
