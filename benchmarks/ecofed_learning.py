"""EcoFed's claims about learning, tested on paired seeds: ``python -m benchmarks.ecofed_learning``.

Source: Wu et al., EcoFed, IEEE TPDS 35(3), 2024 (arXiv 2304.05495). Its tables of accuracy are not reproduced; that a
pre-trained front beats a frozen random one by 5 points, and costs at most 3 against split FL, are thresholds of ours, as is
that a longer replay period costs accuracy. Sizes and thresholds were fixed before the seeds that are reported were run.

Two fronts: the paper's device part, pre-trained by ``emulator pretrain`` on images that no client holds; and the first four
blocks of ImageNet's MobileNetV2, whose BatchNorm stays in evaluation mode and whose smashed data, of both signs, travel as
signed int8 (both ours). All variants share the seeds' backs, cohorts and minibatches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.study import ROOT, Claim, Overrides, Result, Study, table
from emulator.learning.models import ModelSpec
from emulator.paired import Verdict
from emulator.pretrained import open_weights
from emulator.pretraining import Pretraining, pretrain
from emulator.reading import read_scenario
from emulator.weight_files import front_names, load_into, save

SCENARIO = "ecofed_learning"
FRONTS = ROOT / "fronts"
PAPERS, IMAGENET = FRONTS / "vgg_ecofed.safetensors", FRONTS / "mobilenetv2_imagenet.safetensors"
HOW = Pretraining(epochs=5, batch_size=20)

SMALL: Overrides = ("model.name=mobilenetv2_small", "model.cut=4", "model.batch_statistics=false")
SIGNED: Overrides = (*SMALL, "protocol.smashed={codec: int8-signed}")


def _given(front: Path) -> str:
    return f"model.weights={front}"


STUDY = Study(
    "ecofed_learning",
    SCENARIO,
    {
        "pre-trained": (_given(PAPERS),),
        "random front": ("protocol.init=random",),
        "split FL": ("protocol.name=splitfed_v1",),
        "split FL, same front": ("protocol.name=splitfed_v1", _given(PAPERS)),
        "local loss": ("protocol.name=local_loss",),
        "period 1": (_given(PAPERS), "protocol.replay_period=1"),
        "period 4": (_given(PAPERS), "protocol.replay_period=4"),
        "period 8": (_given(PAPERS), "protocol.replay_period=8"),
    },
)
MOBILE = Study(
    "ecofed_learning_mobilenet",
    SCENARIO,
    {
        "pre-trained": (*SIGNED, _given(IMAGENET)),
        "random front": (*SIGNED, "protocol.init=random"),
        # Nobody has estimated statistics for a random front: in evaluation mode it does not normalise at all.
        "random front, batch statistics": (*SIGNED, "protocol.init=random", "model.batch_statistics=true"),
        "split FL": (*SMALL, "protocol.name=splitfed_v1"),
        "split FL, same front": (*SMALL, "protocol.name=splitfed_v1", _given(IMAGENET)),
        "local loss": (*SMALL, "protocol.name=local_loss"),
    },
)


def accuracy(result: Result) -> float:
    """Of the test images after the last round, 0 to 1."""
    return float(result.summary["accuracy"])


def _against(words: str, right: str, above: float) -> Claim:
    return Claim(words, "pre-trained", right, accuracy, above)


SHARED = (
    _against("a pre-trained front beats a random frozen one", "random front", 0.05),
    _against("it loses less than 3 points against split FL", "split FL", -0.03),
    _against("... that starts from the same front", "split FL, same front", -0.03),
    _against("it is above local loss", "local loss", 0.0),
)
CLAIMS = (
    *SHARED,
    Claim("sending in every other round is as good as in each", "pre-trained", "period 1", accuracy, within=0.03),
    _against("replay period 4 loses accuracy against 2", "period 4", 0.0),
    _against("replay period 8 loses accuracy against 2", "period 8", 0.0),
)
MOBILE_CLAIMS = (
    *SHARED,
    _against("... random, normalised by the batch", "random front, batch statistics", 0.05),
)


@dataclass(frozen=True)
class Tested:
    """A study with its runs and claims."""

    study: Study
    claims: tuple[Claim, ...]
    results: Mapping[str, list[Result]]

    def verdicts(self) -> list[Verdict]:
        """In the order of the claims."""
        return [claim.tested(self.results)[1] for claim in self.claims]

    def __str__(self) -> str:
        """Mean accuracies and the table of claims, in Markdown."""
        means = [f"| {name} | {fmean(map(accuracy, runs)):.3f} |" for name, runs in self.results.items()]
        return "\n".join(["| variant | accuracy |", "|---|---|", *means, "", table(self.claims, self.results)])


def make_fronts() -> None:
    """The files of the two fronts, and of nothing behind them; those that are there stay."""
    FRONTS.mkdir(parents=True, exist_ok=True)
    whole = FRONTS / "vgg_ecofed_whole.safetensors"
    if not whole.is_file():
        told = pretrain(read_scenario(SCENARIO, []), HOW, whole, lambda text: print(text, flush=True))
        print(f"pre-trained: accuracy {told:.4f} on the test set", flush=True)
    _front(str(whole), read_scenario(SCENARIO, []).model_spec, 2, PAPERS)
    _front("mobilenetv2-imagenet", read_scenario(SCENARIO, list(SIGNED)).model_spec, 4, IMAGENET)


def _front(source: str, spec: ModelSpec, cut: int, target: Path) -> None:
    """Blocks ``0:cut`` of a file of weights, as weights of ``spec``."""
    if target.is_file():
        return
    file = open_weights(source)
    # The file is of a model with the same front and another back.
    whole = ModelSpec(file.about["model"], int(file.about["classes"]), spec.shape)
    save(target, spec, load_into(whole, file, front_names(whole, cut)), {"source": f"{source}, {cut} blocks"})


def verdicts_on(study: Study, claims: tuple[Claim, ...]) -> Tested:
    """A study's runs, done now or kept from before, and what they say."""
    make_fronts()
    return Tested(study, claims, study.results())


def main() -> bool:
    """Print both studies; there is no limit to miss."""
    for study, claims in ((MOBILE, MOBILE_CLAIMS), (STUDY, CLAIMS)):
        print(f"\n{study.name}\n\n{verdicts_on(study, claims)}", flush=True)
    return True


if __name__ == "__main__":
    main()
