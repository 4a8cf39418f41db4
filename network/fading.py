"""Block fading: a gain per (device, cell) and coherence block of virtual time, the same whoever asks, and when.

Gains are not drawn one after the other but computed from their key, so that two policies that send at other times meet
the same air. The uniform behind a gain is the SplitMix64 output function of ``key + golden * counter`` (Steele, Lea & Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Gains = NDArray[np.float32]

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 2**64 - 1
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def mixed(keys: Keys, counter: int) -> Keys:
    """64 random bits for each key and this counter: the same for the same pair."""
    bits = keys + np.uint64(counter * _GOLDEN & _WORD)
    spare = np.right_shift(bits, _SHIFTS[0])
    np.bitwise_xor(bits, spare, out=bits)
    np.multiply(bits, _MIX[0], out=bits)
    np.right_shift(bits, _SHIFTS[1], out=spare)
    np.bitwise_xor(bits, spare, out=bits)
    np.multiply(bits, _MIX[1], out=bits)
    np.right_shift(bits, _SHIFTS[2], out=spare)
    np.bitwise_xor(bits, spare, out=bits)
    return bits


def uniform(key: int, counter: int) -> float:
    """One number in (0, 1) for a key and a counter, 53 bits of it random."""
    bits = int(mixed(np.array([key & _WORD], np.uint64), counter)[0])
    return ((bits >> 11) + 0.5) / 2**53


_CELLS = 2**16


def _exponentials() -> Gains:
    """Means of the exponential distribution over 65,536 equally likely cells: their own mean is 1 exactly."""
    edges = np.arange(_CELLS + 1) / _CELLS
    integral = edges - edges * np.log(edges, where=edges > 0, out=np.zeros(_CELLS + 1))
    return (np.diff(integral) * _CELLS).astype(np.float32)


_EXPONENTIALS = _exponentials()
_COSINES = np.cos(2 * np.pi * (np.arange(_CELLS) + 0.5) / _CELLS).astype(np.float32)


@dataclass(frozen=True)
class BlockFading:
    """Power gains of mean 1 that hold for ``block_ns`` and are independent from block to block.

    ``k_factor`` is Rice's: power of the direct path over that of all others; 0 is Rayleigh fading (exponential gains).
    A Rayleigh gain takes one of 65,536 equally likely values, from -51 to +10.8 dB. Raises ValueError for a block below
    1 ns and a negative factor.
    """

    block_ns: int
    k_factor: float = 0.0

    def __post_init__(self) -> None:
        if self.block_ns < 1:
            raise ValueError(f"block_ns: got {self.block_ns}; expected at least 1")
        if not 0 <= self.k_factor < float("inf"):
            raise ValueError(f"k_factor: got {self.k_factor}; expected a finite ratio, zero or more")

    @property
    def served(self) -> int:
        """How many consecutive blocks draw on the same 64 bits: 16 serve a Rayleigh gain, 32 a Rician one."""
        return 2 if self.k_factor else 4

    def block(self, time_ns: int) -> int:
        """The number of the block at an instant."""
        return time_ns // self.block_ns

    def bits(self, keys: Keys, block: int) -> Keys:
        """The random bits behind the gains of a block and of its neighbours (``served`` blocks have the same)."""
        return mixed(keys, block // self.served)

    def gains(self, bits: Keys, block: int) -> Gains:
        """One gain a key in this block, out of its ``bits``."""
        words = bits.view(np.uint16)
        if self.k_factor:
            at = 2 * (block % 2)
            return self._rician(_EXPONENTIALS.take(words[at::4]), _COSINES.take(words[at + 1 :: 4]))
        return _EXPONENTIALS.take(words[block % 4 :: 4])

    def gain(self, key: int, block: int) -> float:
        """The gain of one key."""
        return float(self.gains(self.bits(np.array([key & _WORD], np.uint64), block), block)[0])

    def _rician(self, scattered: Gains, cosine: Gains) -> Gains:
        """|direct + scattered|^2 with the scattered power exponential and its phase uniform."""
        direct = np.float32(self.k_factor / (1 + self.k_factor))
        scattered = scattered / np.float32(1 + self.k_factor)
        return np.asarray(direct + scattered + 2 * np.sqrt(direct * scattered) * cosine, np.float32)
