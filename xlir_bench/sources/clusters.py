"""Which questions move together when statistics resample: articles, joined by their translations."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def joined_labels(titles: Mapping[Node, str], groups: Sequence[Sequence[Node]]) -> dict[Node, str]:
    """A label for each node, the same for all that the groups join and for no other.

    The label is the first title of the joined nodes in code-point order; where two sets of nodes
    would have the same, the later one is numbered.

    >>> joined_labels({1: "Plant cell", 2: "Pflanzenzelle", 3: "Oni"}, [[1, 2]])
    {1: 'Pflanzenzelle', 2: 'Pflanzenzelle', 3: 'Oni'}
    """
    parents = {node: node for node in titles}
    for first, *others in groups:
        for other in others:
            parents[_root(parents, other)] = _root(parents, first)
    members: dict[Node, list[Node]] = {}
    for node in titles:
        members.setdefault(_root(parents, node), []).append(node)
    labels: dict[Node, str] = {}
    taken: set[str] = set()
    for nodes in members.values():
        label = _free(min(titles[node] for node in nodes), taken)
        taken.add(label)
        labels.update(dict.fromkeys(nodes, label))
    return {node: labels[node] for node in titles}


def _root(parents: dict[Node, Node], node: Node) -> Node:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


def _free(label: str, taken: set[str]) -> str:
    number, free = 1, label
    while free in taken:
        number += 1
        free = f"{label} ({number})"
    return free
