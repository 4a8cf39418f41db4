"""What must hold of a split: where a model can be cut, and which codecs carry what crosses the cut."""

from collections.abc import Iterator

from emulator.learning.codecs import codec_of
from emulator.learning.codecs.settings import AnyCodec
from emulator.learning.models import ModelSpec, summary
from emulator.learning.models.signs import non_negative_cuts
from emulator.protocols.settings import Settings

SIGNED = ("cut_gradient", "update")  # settings that name the codec of data of both signs


def cut_findings(protocol: str, settings: Settings, model: ModelSpec, chosen: tuple[str, int | None]) -> Iterator[str]:
    """What is wrong with a cut, given with its key: ``key.path: got X; expected Y``.

    A split protocol needs a block on either side.
    """
    (place, cut), blocks = chosen, len(summary(model))
    if cut is None or not 0 < cut < blocks:
        got = "none" if cut is None else str(cut)
        range_ = "1" if blocks == 2 else f"1 to {blocks - 1}"
        yield f"{place}: got {got}; expected {range_}, as {protocol} splits {model.name}"
    else:
        yield from _codec_findings(settings, model, cut)


def _codec_findings(settings: Settings, model: ModelSpec, cut: int) -> Iterator[str]:
    """Codecs for data nowhere below 0, where there is such: after a ReLU, and never in gradients."""
    for key in ("smashed", *SIGNED):
        codec = getattr(settings, key, None)
        if not isinstance(codec, AnyCodec) or codec_of(codec).carries_negative:
            continue
        got = f"protocol.{key}: got {codec.codec}, which carries nothing below 0"
        if key in SIGNED:
            yield f"{got}; expected a codec for both signs, as gradients have them, e.g. int8-signed"
        elif cut not in non_negative_cuts(model):
            others = ", ".join(map(str, non_negative_cuts(model)))
            instead = f"; with {codec.codec}, a cut of {others}" if others else ""
            words = f"as {model.name} cut after {cut} blocks sends such data"
            yield f"{got}; expected a codec for both signs, {words}, e.g. int8-signed{instead}"
