from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xlir_bench.sources.squad import joined_labels

NODES = st.integers(0, 12)


def test_what_a_chain_of_groups_joins_shares_the_first_title() -> None:
    titles = {"a": "Zebra", "b": "Yak", "c": "Xerus", "d": "Bee"}
    assert joined_labels(titles, [["a", "b"], ["b", "c"]]) == {
        "a": "Xerus", "b": "Xerus", "c": "Xerus", "d": "Bee",
    }  # fmt: skip


def test_two_sets_with_one_title_stay_apart() -> None:
    assert joined_labels({1: "Mercury", 2: "Mercury"}, []) == {1: "Mercury", 2: "Mercury (2)"}


@given(st.lists(st.lists(NODES, min_size=1, max_size=4), max_size=10))
def test_two_nodes_share_a_label_exactly_if_the_groups_connect_them(
    groups: list[list[int]],
) -> None:
    labels = joined_labels(dict.fromkeys(range(13), "same"), groups)
    reached = {node: {node} for node in range(13)}
    for _ in range(13):
        for group in groups:
            union = set().union(*(reached[node] for node in group))
            for node in union:
                reached[node] = union
    for a in range(13):
        for b in range(13):
            assert (labels[a] == labels[b]) == (b in reached[a])
