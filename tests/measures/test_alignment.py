from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from stored import aligned_result

from xlir_bench.measures.alignment import (
    KeyedTexts,
    PairAlignment,
    affinity_interval,
    anisotropy,
    hubness,
    language_variance,
    pair_alignment,
    relevance_cosines,
    semantic_affinity,
)
from xlir_bench.results.schema import AlignmentPart


def unit(*rows: object) -> np.ndarray:
    matrix = np.array(rows, np.float32)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def items(vectors: np.ndarray, keys: list[int] | None = None) -> KeyedTexts:
    rows = np.arange(len(vectors))
    return KeyedTexts(vectors, rows, rows if keys is None else np.array(keys), rows)


def random(count: int, seed: int) -> np.ndarray:
    return unit(*np.random.default_rng(seed).standard_normal((count, 8)))


def test_an_embedding_that_gives_translations_one_vector_aligns_fully() -> None:
    vectors = random(30, 0)
    found = pair_alignment(items(vectors), items(vectors))
    assert found is not None
    assert found.recall == {"recall@1": 1, "recall@5": 1, "recall@10": 1}
    assert found.translations == pytest.approx(1)
    assert found.others == pytest.approx(anisotropy(vectors))
    assert found.margin == pytest.approx(1 - found.others)


def test_the_figures_of_a_pair_equal_a_plain_computation() -> None:
    first, second = random(12, 1), random(9, 2)
    left, right = [0, 1, 2, 3, 3, 9, 9, 4, 5, 6, 7, 8], [3, 3, 2, 0, 9, 11, 12, 13, 1]
    found = pair_alignment(items(first, left), items(second, right))
    assert found is not None
    cosines = first.astype(float) @ second.T.astype(float)
    same = np.array(left)[:, None] == np.array(right)
    ranks = []
    for line, mine in zip(cosines, same, strict=True):
        order = np.argsort(-line, kind="stable")
        if mine.any():
            ranks.append(1 + min(np.flatnonzero(mine[order])))
    assert found.items == len(ranks)
    assert found.translations == pytest.approx(cosines[same].mean())
    assert found.others == pytest.approx(cosines[~same].mean())
    assert found.recall == {
        f"recall@{k}": pytest.approx(np.mean(np.array(ranks) <= k)) for k in (1, 5, 10)
    }


def test_an_item_of_two_keys_is_one_item() -> None:
    """Two questions about one sentence: its translations are those of both."""
    clusters = np.zeros(3, int)
    first = KeyedTexts(random(2, 3), np.array([0, 0, 1]), np.array([7, 8, 9]), clusters)
    second = KeyedTexts(random(3, 4), np.array([0, 1, 2]), np.array([7, 8, 9]), clusters)
    found = pair_alignment(first, second)
    assert found is not None
    assert found.items == 2
    cosines = first.vectors @ second.vectors.T
    assert found.translations == pytest.approx(
        np.mean([cosines[0, 0], cosines[0, 1], cosines[1, 2]])
    )


def test_one_vector_for_everything_does_not_look_aligned() -> None:
    same = np.tile(unit([1, 2, 3, 4, 5, 6, 7, 8]), (40, 1))
    found = pair_alignment(items(same), items(same))
    assert found is not None
    assert found.recall["recall@1"] == 1 / 40
    assert found.recall["recall@10"] == 10 / 40
    assert found.margin == pytest.approx(0, abs=1e-6)
    zero = pair_alignment(items(np.zeros((40, 8), np.float32)), items(same))
    assert zero is not None
    assert (zero.translations, zero.recall["recall@1"]) == (0, 1 / 40)


def test_languages_without_translations_of_each_other_have_no_figures() -> None:
    assert pair_alignment(items(random(3, 0)), items(random(3, 1), [5, 6, 7])) is None


def test_a_lone_pair_has_no_others() -> None:
    found = pair_alignment(items(random(1, 0)), items(random(1, 1)))
    assert found is not None
    assert (found.others, found.recall["recall@1"]) == (0, 1)


def test_anisotropy_is_the_mean_cosine_of_different_texts() -> None:
    vectors = random(20, 5)
    cosines = vectors @ vectors.T
    assert anisotropy(vectors) == pytest.approx(cosines[~np.eye(20, dtype=bool)].mean(), abs=1e-6)
    assert anisotropy(np.tile(unit([1, 1]), (5, 1))) == pytest.approx(1)
    assert anisotropy(unit([1, 0])) == 0


def test_language_explains_all_variance_where_each_language_is_a_point_and_none_where_they_overlap() -> (
    None
):
    points = {"de": np.tile(unit([1, 0]), (4, 1)), "en": np.tile(unit([0, 1]), (9, 1))}
    assert language_variance(points) == pytest.approx(1)
    vectors = random(30, 6)
    assert language_variance({"de": vectors, "en": vectors}) == pytest.approx(0)
    assert language_variance({"de": points["de"], "en": points["de"]}) == 0


def test_hubness_is_the_skew_of_how_often_a_candidate_is_found() -> None:
    assert hubness(np.array([[0, 1], [2, 3]]), 4) == 0
    top = np.array([[0, 1], [0, 2], [0, -1], [0, 3]])
    times = np.array([4, 1, 1, 1, 0, 0])
    wanted = np.mean(((times - times.mean()) / times.std()) ** 3)
    assert hubness(top, 6) == pytest.approx(wanted)
    assert hubness(top, 6) > 1


def test_questions_lie_to_their_passages_as_plain_means_say() -> None:
    queries, passages = random(5, 7), random(8, 8)
    query, passage = np.array([0, 1, 1, 3]), np.array([2, 0, 5, 7])
    cosines = queries @ passages.T
    judged = np.zeros((5, 8), bool)
    judged[query, passage] = True
    found = relevance_cosines(queries, passages, query, passage)
    assert found.relevant == pytest.approx(cosines[judged].mean())
    assert found.others == pytest.approx(cosines[[0, 1, 3]][~judged[[0, 1, 3]]].mean())


@pytest.mark.parametrize(
    ("translations", "within", "wanted"),
    [(1.0, 0.3, 1.0), (0.9, 0.6, 0.8), (0.2, 0.2, 0.5), (0.5, 1.0, 0.0), (1.0, 1.0, None)],
)
def test_semantic_affinity_is_the_published_formula(
    translations: float, within: float, wanted: float | None
) -> None:
    found = semantic_affinity(translations, within)
    assert found == (None if wanted is None else pytest.approx(wanted))
    if within < 1:
        assert found == pytest.approx(1 / (1 + (1 - translations) / (1 - within)))


def test_vectors_that_are_one_point_have_no_affinity_whatever_their_last_bits() -> None:
    assert semantic_affinity(1 - 6e-8, 1 - 1e-7) is None


def test_a_language_of_a_single_text_has_no_part_in_the_affinity() -> None:
    pair = PairAlignment(1, 0.9, 0.5, 0.4, {"recall@1": 1.0})
    of_pairs = {"de-en": pair, "en-de": pair}
    alone = AlignmentPart(questions=of_pairs, anisotropy={"query": {"de": 0.6, "en": 0.0}})
    assert alone.affinity["questions"][0] == pytest.approx(0.8)
    single = AlignmentPart(questions=of_pairs, anisotropy={"query": {"de": 0.0, "en": 0.0}})
    assert single.affinity == {}


def test_a_result_derives_its_affinity_from_what_is_stored() -> None:
    record = aligned_result().record.alignment
    for kind, role in (("questions", "query"), ("answers", "passage")):
        pairs = getattr(record, kind).values()
        within = 1 - np.mean(list(record.anisotropy[role].values()))
        value, chance = record.affinity[kind]
        assert value == pytest.approx(
            1 / (1 + (1 - np.mean([p.translations for p in pairs])) / within)
        )
        assert chance == pytest.approx(1 / (1 + (1 - np.mean([p.others for p in pairs])) / within))
        assert value > chance


LANGS = ("de", "en", "ru")


def clustered(
    sizes: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, KeyedTexts], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Translations near each other, texts of an article too; a text a question and two that answer none."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    topics = rng.standard_normal((len(sizes), 16))
    noise = rng.uniform(0.5, 2, len(sizes))[cluster][:, None]
    meaning = topics[cluster] + rng.standard_normal((len(cluster), 16))
    of_items, texts, clusters = {}, {}, {}
    for lang in LANGS:
        rows = np.concatenate(
            [meaning + noise * rng.standard_normal(meaning.shape), rng.standard_normal((2, 16))]
        )
        texts[lang] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        number = np.arange(len(cluster))
        of_items[lang] = KeyedTexts(texts[lang], number, number, cluster)
        clusters[lang] = np.concatenate([cluster, [-1, -1]])
    return of_items, texts, clusters


def affinity_of(
    texts: dict[str, np.ndarray], clusters: dict[str, np.ndarray], left_out: int | None
) -> float:
    """The affinity of the texts of all other clusters, from all pairs of texts."""
    kept = {lang: texts[lang][clusters[lang] != left_out] for lang in LANGS}
    asked = {
        lang: texts[lang][(clusters[lang] != left_out) & (clusters[lang] >= 0)] for lang in LANGS
    }
    translations = [
        (asked[a] * asked[b]).sum(axis=1).mean() for a in LANGS for b in LANGS if a != b
    ]
    within = [(x @ x.T)[~np.eye(len(x), dtype=bool)].mean() for x in kept.values()]
    return 1 / (1 + (1 - np.mean(translations)) / (1 - np.mean(within)))


def test_the_interval_of_the_affinity_is_the_jackknifes_over_articles() -> None:
    of_items, texts, clusters = clustered(np.array([3, 1, 4, 2, 2]), np.random.default_rng(0))
    value = affinity_of(texts, clusters, None)
    without = [affinity_of(texts, clusters, x) for x in range(5)]
    half = scipy.stats.t.ppf(0.975, 4) * np.sqrt(4 / 5 * ((without - np.mean(without)) ** 2).sum())
    wanted = value - half, value + half
    assert affinity_interval(of_items, texts, clusters) == pytest.approx(wanted)


def test_one_article_has_no_interval_of_the_affinity_and_neither_has_one_point() -> None:
    of_items, texts, clusters = clustered(np.array([5]), np.random.default_rng(0))
    assert affinity_interval(of_items, texts, clusters) is None
    assert affinity_interval({}, texts, clusters) is None
    point = {lang: np.ones((4, 1)) for lang in LANGS}
    rows = np.arange(4)
    same = {lang: KeyedTexts(point[lang], rows, rows, rows) for lang in LANGS}
    assert affinity_interval(same, point, dict.fromkeys(LANGS, rows)) is None


def test_a_language_whose_texts_are_of_one_article_has_no_part_without_it() -> None:
    of_items, texts, clusters = clustered(np.array([3, 3, 3]), np.random.default_rng(1))
    for lang, of_lang in of_items.items():
        texts[lang], clusters[lang] = texts[lang][:-2], clusters[lang][:-2]
        of_items[lang] = KeyedTexts(texts[lang], of_lang.item, of_lang.key, of_lang.cluster)
    only = clusters["ru"] == 1
    texts["ru"], clusters["ru"] = texts["ru"][only], clusters["ru"][only]
    of_items["ru"] = KeyedTexts(texts["ru"], np.arange(3), np.flatnonzero(only), clusters["ru"])
    low, high = affinity_interval(of_items, texts, clusters) or (0, 0)
    assert 0 <= low < high <= 1


def test_the_interval_of_the_affinity_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    truth = affinity_of(*clustered(rng.integers(1, 8, 2000), rng)[1:], None)
    held = 0
    for _ in range(200):
        low, high = affinity_interval(*clustered(rng.integers(1, 8, 25), rng)) or (0, 0)
        held += low <= truth <= high
    assert 180 <= held <= 199
