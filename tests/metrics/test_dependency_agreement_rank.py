"""Dependency between classes, agreement between seeds, effective rank: slow references and what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.metrics.agreement import gram_agreement
from sar_cls.metrics.dependency import inter_class_dependency
from sar_cls.metrics.effective_rank import effective_rank
from sar_cls.metrics.neural_collapse import nearest_class

from . import geometry_references as slow


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


class TestDependency:
    def test_against_the_formula(self) -> None:
        centres = normal(7, 5)
        found = inter_class_dependency(centres)
        np.testing.assert_allclose(found, [slow.dependency(centres, c) for c in range(7)], rtol=1e-12)

    def test_its_ends(self) -> None:
        np.testing.assert_allclose(inter_class_dependency(np.zeros((4, 3))), 3 / 4)
        far = inter_class_dependency(100 * np.eye(4))
        assert (far >= 0).all()
        assert (far < 1e-300).all()
        small = inter_class_dependency(8 * np.eye(4))  # 3 exp(-32): 1 - R_cc would be 0
        np.testing.assert_allclose(small, 3 * np.exp(-32), rtol=1e-9)


class TestAgreement:
    @pytest.mark.parametrize("members", [None, [0, 2, 5, 6]])
    def test_against_a_loop(self, members: list[int] | None) -> None:
        ours, theirs = normal(8, 5), normal(8, 3, seed=1)
        found = gram_agreement(ours, theirs, None if members is None else np.array(members))
        assert found == pytest.approx(slow.agreement(ours, theirs, members or list(range(8))))

    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 999), scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
    def test_no_rotation_shift_or_scale_changes_it(self, seed: int, scale: float, shift: float) -> None:
        ours, theirs = normal(6, 5, seed=seed), normal(6, 5, seed=seed + 1)
        rotation = np.linalg.qr(normal(5, 5, seed=seed))[0]
        assert gram_agreement(ours, scale * ours @ rotation + shift) == pytest.approx(1)
        before, after = gram_agreement(ours, theirs), gram_agreement(scale * ours @ rotation + shift, theirs)
        assert after == pytest.approx(before, abs=1e-6)
        assert gram_agreement(theirs, ours) == pytest.approx(before)
        assert -1 <= before <= 1

    def test_unrelated_runs_do_not_agree(self) -> None:
        values = [gram_agreement(normal(100, 64, seed=2 * s), normal(100, 64, seed=2 * s + 1)) for s in range(5)]
        assert max(map(abs, values)) < 0.1

    def test_where_there_is_nothing_to_correlate(self) -> None:
        simplex = np.eye(5) - 1 / 5
        assert np.isnan(gram_agreement(simplex, normal(5, 5)))
        assert np.isnan(gram_agreement(normal(5, 4), normal(5, 4), np.array([0, 1])))
        assert np.isnan(gram_agreement(np.zeros((5, 4)), normal(5, 4)))

    def test_other_classes(self) -> None:
        with pytest.raises(ValueError, match="5 classes cannot be compared with 4"):
            gram_agreement(normal(5, 4), normal(4, 4))


class TestEffectiveRank:
    @pytest.mark.parametrize("shape", [(40, 6), (5, 9), (7, 7)])
    def test_against_the_singular_values(self, shape: tuple[int, int]) -> None:
        vectors = normal(*shape) * np.arange(1, shape[1] + 1)
        assert effective_rank(vectors) == pytest.approx(slow.rank(vectors), rel=1e-7)

    @pytest.mark.parametrize("rank", [1, 3])
    def test_of_few_directions(self, rank: int) -> None:
        vectors = normal(200, rank) @ np.linalg.qr(normal(50, 50))[0][:rank]
        assert 1 <= effective_rank(vectors) <= rank + 1e-6
        assert effective_rank(vectors) == pytest.approx(slow.rank(vectors), rel=1e-6)

    def test_equal_directions_all_count(self) -> None:
        assert effective_rank(np.concatenate([np.eye(6), -np.eye(6)])) == pytest.approx(6)

    def test_of_one_point(self) -> None:
        assert np.isnan(effective_rank(np.full((5, 3), 2.0)))


def test_the_nearest_class() -> None:
    features, means = 100 + normal(50, 4), 100 + normal(6, 4, seed=1)
    assert nearest_class(features, means).tolist() == [slow.nearest(f, means) for f in features]
    means[2] = np.nan
    kept = [0, 1, 3, 4, 5]
    assert nearest_class(features, means).tolist() == [kept[slow.nearest(f, means[kept])] for f in features]
