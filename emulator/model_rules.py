"""What must hold between a protocol and a model: that there is what it needs, where it can be cut, which codecs carry it."""

from collections.abc import Iterator, Mapping

from emulator.learning.codecs import codec_of
from emulator.learning.codecs.settings import AnyCodec, DropoutCodec
from emulator.learning.models import ModelSpec, summary
from emulator.learning.models.signs import non_negative_cuts
from emulator.protocols.base import Settings
from emulator.protocols.catalogue import PROTOCOLS
from emulator.protocols.settings import CutWork

SIGNED = {"cut_gradient": "gradients", "update_codec": "updates", "weights_codec": "weights"}  # of both signs


def model_findings(name: str, settings: Settings, model: ModelSpec, cuts: Mapping[str, int | None]) -> Iterator[str]:
    """What is wrong with a protocol's settings for a model, and with the cuts, given by their keys, the model's own first."""
    yield from PROTOCOLS[name].findings(settings, model)
    yield from codec_findings(settings)
    (whole, cut), *own = cuts.items()
    if not isinstance(settings, CutWork):
        told = {place: cut for place, cut in cuts.items() if cut is not None}
        yield from (f"{place}: got {cut}; expected none, as {name} has no use for it" for place, cut in told.items())
        return
    if cut is not None or any(other is None for _, other in own):
        yield from cut_findings(name, settings, model, (whole, cut))
    used = [cut if other is None else other for _, other in own]
    for place, other in own:
        if other is not None:
            yield from cut_findings(name, settings, model, (place, other))
        one = settings.one_cut if PROTOCOLS[name].cuts else f"{name} joins all devices' data"
        if other is not None and other != used[0] and one is not None:
            yield f"{place}: got {other} beside {used[0]}; expected one cut for all, as {one}"


def cut_findings(protocol: str, settings: CutWork, model: ModelSpec, chosen: tuple[str, int | None]) -> Iterator[str]:
    """What is wrong with a cut, given with its key: ``key.path: got X; expected Y``.

    A split protocol needs a block on either side.
    """
    (place, cut), blocks = chosen, len(summary(model))
    if cut is None or not 0 < cut < blocks:
        got = "none" if cut is None else str(cut)
        range_ = "1" if blocks == 2 else f"1 to {blocks - 1}"
        yield f"{place}: got {got}; expected {range_}, as {protocol} splits {model.name}"
    else:
        yield from _smashed_findings(settings, model, cut)
        yield from settings.wrong_at(model, cut)


def codec_findings(settings: Settings) -> Iterator[str]:
    """Codecs that cannot carry what they are to: data below 0, and, by channel, tensors of one dimension."""
    for key, data in SIGNED.items():
        codec = getattr(settings, key, None)
        if not isinstance(codec, AnyCodec):
            continue
        if not codec_of(codec).carries_negative:
            yield f"{_got(key, codec)}; expected a codec for both signs, as {data} have them, e.g. int8-signed"
        if key != "cut_gradient" and isinstance(codec, DropoutCodec) and codec.by == "channel":
            yield f"protocol.{key}.by: got channel; expected element, as biases have no channels"


def _smashed_findings(settings: CutWork, model: ModelSpec, cut: int) -> Iterator[str]:
    """A codec for data nowhere below 0, as after a ReLU, where the data are not."""
    codec = getattr(settings, "smashed", None)
    if isinstance(codec, AnyCodec) and not codec_of(codec).carries_negative and cut not in non_negative_cuts(model):
        others = ", ".join(map(str, non_negative_cuts(model)))
        instead = f"; with {codec.codec}, a cut of {others}" if others else ""
        words = f"as {model.name} cut after {cut} blocks sends such data"
        yield f"{_got('smashed', codec)}; expected a codec for both signs, {words}, e.g. int8-signed{instead}"


def _got(key: str, codec: AnyCodec) -> str:
    return f"protocol.{key}: got {codec.codec}, which carries nothing below 0"
