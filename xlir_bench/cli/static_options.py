"""Options of `xlir-bench train-hybrid` that say what a static model is made like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--vocabulary",
        type=int,
        default=32_000,
        show_default=True,
        metavar="N",
        help="Sub-words of builtin:static, learnt from the rows.",
    ),
    click.option(
        "--smoothing",
        type=float,
        default=1e-3,
        show_default=True,
        metavar="A",
        help="A sub-word of frequency p weighs A / (A + p) in builtin:static; less of it: rare ones count"
        " for more.",
    ),
    click.option(
        "--romanise",
        is_flag=True,
        help="builtin:static reads Greek, Cyrillic and Devanagari in Latin letters: names meet across"
        " scripts.",
    ),
    click.option(
        "--identity",
        type=int,
        default=0,
        show_default=True,
        metavar="N",
        help="Give builtin:static N dimensions beside its trained ones, in which each sub-word is itself"
        " alone: finds the same words again.",
    ),
    click.option(
        "--identity-weight",
        type=float,
        default=0.4,
        show_default=True,
        metavar="W",
        help="How much these count beside the trained ones.",
    ),
    click.option("--int8", is_flag=True, help="Store a static model as int8."),
)


def static_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add them to a command, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
