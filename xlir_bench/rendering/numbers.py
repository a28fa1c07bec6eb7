"""How numbers are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Written = Callable[[float], str]
"""How a number is written: as a score (`number`) or a distance (`big`)."""


def number(value: float | None, digits: int = 4) -> str:
    """A score as people write it: ``.3197``; ``1.0000`` keeps its one."""
    if value is None:
        return "-"
    text = f"{value:z.{digits}f}"
    return text[1:] if text.startswith("0.") else text.replace("-0.", "-.", 1)


def short(value: float | None) -> str:
    """A score with three digits, for cells with little room."""
    return number(value, 3)


def big(value: float) -> str:
    """A count or distance with separated thousands."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def signed(value: float, text: Written = number) -> str:
    """A difference with its sign; without a sign if it rounds to 0."""
    shown = text(abs(value))
    if not shown.strip("0."):
        return shown
    return ("-" if value < 0 else "+") + shown


def bounds(low: float | None, high: float | None, text: Written = number) -> str:
    """The interval of a difference."""
    return interval(low, high, lambda value: signed(value, text))


def interval(low: float | None, high: float | None, text: Written = number) -> str:
    """The ends of an interval, or a dash if there is none."""
    return "-" if low is None or high is None else f"{text(low)} to {text(high)}"


def p_value(p: float) -> str:
    """A p-value with four digits, or ``<.0001``."""
    return "<.0001" if p < 0.0001 else number(p)


def percent(share: float | None, form: str = ".1f") -> str:
    """A share of 1, such as ``12.5%``."""
    return "-" if share is None else f"{100 * share:{form}}%"


def mean_and_deviation(values: Sequence[float], text: Written = number) -> str:
    """The mean over seeds and its standard deviation; a dash if there are no values."""
    if not values:
        return "-"
    mean = text(float(np.mean(values)))
    return mean if len(values) < 2 else f"{mean} ± {text(float(np.std(values, ddof=1)))}"


def milliseconds(value: float) -> str:
    """A time with about three significant figures."""
    return f"{value:.2f}" if value < 10 else big(value)


def rate(value: float | None) -> str:
    """A number per second."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def millions(parameters: int | None) -> str:
    """A number of parameters: ``118.3 M``."""
    if parameters is None:
        return "-"
    if parameters >= 10**9:
        return f"{parameters / 10**9:.1f} B"
    return f"{parameters / 10**6:.1f} M" if parameters >= 10**5 else f"{parameters:,}"


def size(count: float | None) -> str:
    """A number of bytes: ``1.5 GB``."""
    if count is None:
        return "-"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 10 * factor or (count >= factor and unit != "kB"):
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} B"


def rounded(value: Any, digits: int = 7) -> Any:
    """A value with all its numbers rounded, since the last bits of a sum differ between machines."""
    if isinstance(value, float):
        return round(value, digits if abs(value) < 100 else 2)
    if isinstance(value, Mapping):
        return {key: rounded(each, digits) for key, each in value.items()}
    return [rounded(each, digits) for each in value] if isinstance(value, list | tuple) else value
