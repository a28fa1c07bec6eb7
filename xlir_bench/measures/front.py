"""Which of several offers no other one beats, in quality and in one cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """A quality, and what it costs, measured in as many rounds for every offer."""

    quality: float
    costs: tuple[float, ...]
    """One a round; what one offer costs in a round is compared with the others in the same round."""


def cheaper(one: Offer, other: Offer) -> bool:
    """In every round; what is so in some rounds alone may be noise."""
    return all(mine < theirs for mine, theirs in zip(one.costs, other.costs, strict=True))


def beats(one: Offer, other: Offer) -> bool:
    """As good in quality and in cost, and better in one of them.

    >>> slow, fast = Offer(0.5, (1.0, 1.2)), Offer(0.4, (0.7, 1.1))
    >>> beats(slow, fast), beats(slow, Offer(0.4, (0.7, 1.3))), beats(Offer(0.5, (0.7, 1.1)), slow)
    (False, True, True)
    """
    if one.quality < other.quality or cheaper(other, one):
        return False
    return one.quality > other.quality or cheaper(one, other)


def unbeaten(offers: Sequence[Offer]) -> list[bool]:
    """For each offer, whether none of the unbeaten ones beats it.

    Who is beaten by a beaten offer alone is in: a chain of costs that are hard to tell apart would else
    hide an offer that is clearly cheaper than the best.
    """
    # Whoever beats an offer comes before it in this order.
    order = sorted(range(len(offers)), key=lambda i: (-offers[i].quality, sum(offers[i].costs)))
    kept: list[int] = []
    for i in order:
        if not any(beats(offers[k], offers[i]) for k in kept):
            kept.append(i)
    return [i in kept for i in range(len(offers))]
