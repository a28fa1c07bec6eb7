"""Which of several offers no other one beats, in quality and in one cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """A quality, and what it costs; a cost that was measured again and again is a span."""

    quality: float
    low: float
    high: float


def beats(one: Offer, other: Offer) -> bool:
    """As good in quality and in cost, and better in one of them.

    Costs whose spans overlap are equal: noise alone makes no winner.

    >>> slow, fast = Offer(0.5, 1.0, 1.2), Offer(0.4, 0.7, 0.9)
    >>> beats(slow, fast), beats(slow, Offer(0.4, 1.1, 1.3)), beats(Offer(0.5, 0.7, 0.9), slow)
    (False, True, True)
    """
    as_good = one.quality >= other.quality and one.low <= other.high
    return as_good and (one.quality > other.quality or one.high < other.low)


def unbeaten(offers: Sequence[Offer]) -> list[bool]:
    """For each offer, whether none of the unbeaten ones beats it.

    Who is beaten by a beaten offer alone is in: spans that overlap in a chain would else hide an offer
    that is clearly cheaper than the best.
    """
    # Whoever beats an offer comes before it in this order.
    order = sorted(range(len(offers)), key=lambda i: (-offers[i].quality, offers[i].high))
    kept: list[int] = []
    for i in order:
        if not any(beats(offers[k], offers[i]) for k in kept):
            kept.append(i)
    return [i in kept for i in range(len(offers))]
