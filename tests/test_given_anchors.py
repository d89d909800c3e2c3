"""Anchors that are given: directions survive, lengths are those of normal anchors, controls keep what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls import SAR, FixedAnchors, given_anchors
from sar_cls.anchors import ANCHOR_KINDS, class_anchors
from sar_cls.given_anchors import anchors_from_matrix, draw_anchors, same_spectrum, superclass_anchors

NAMES = ["apple", "pear", "bus", "train", "otter"]


def cosines(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=0)
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in rows] for a in rows])


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Stands for the text encoder, whose package is 90 MB: each name has its row."""
    table = np.random.default_rng(3).normal(size=(len(NAMES), 7))

    def embed(names: list[str]) -> np.ndarray:
        return np.stack([table[NAMES.index(name)] for name in names])

    monkeypatch.setattr(given_anchors, "embed_names", embed)
    return table


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 8), st.integers(1, 9), st.integers(0, 6), st.integers(0, 1000))
def test_a_matrix_keeps_its_angles_where_there_is_room(classes: int, width: int, spare: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(classes, width))
    if width == 1:
        return  # more than two classes on a line share a direction
    anchors = anchors_from_matrix(matrix, classes, width + spare, torch.Generator().manual_seed(seed)).double().numpy()
    directions = anchors / np.linalg.norm(anchors, axis=1, keepdims=True)
    np.testing.assert_allclose(directions @ directions.T, cosines(matrix), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(anchors, axis=1), np.sqrt(width + spare), rtol=1e-5)


def test_a_projection_keeps_angles_on_average() -> None:
    matrix = np.random.default_rng(0).normal(size=(40, 384)) + 3 * np.random.default_rng(1).normal(size=(1, 384))
    matrix[20:] = matrix[:20] + 0.5 * matrix[20:]
    expected = cosines(matrix)
    anchors = anchors_from_matrix(matrix, 40, 64, torch.Generator().manual_seed(0)).double().numpy()
    found = anchors @ anchors.T / 64
    off = ~np.eye(40, dtype=bool)
    assert np.corrcoef(found[off], expected[off])[0, 1] > 0.8
    assert np.abs(found - expected)[off].mean() < 2 / np.sqrt(64)


def test_seed_decides_the_turn_and_nothing_else() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 3))
    first, again, other = (draw_anchors(matrix, 5, 6, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    torch.testing.assert_close(first @ first.T, other @ other.T)
    state = torch.get_rng_state()
    draw_anchors(matrix, 5, 6, seed=2)
    assert torch.equal(torch.get_rng_state(), state)


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 9), st.integers(2, 9), st.integers(0, 1000))
def test_same_spectrum_has_the_eigenvalues_and_not_the_angles(classes: int, width: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(classes, width)) * np.arange(1, width + 1)
    drawn = same_spectrum(matrix, torch.Generator().manual_seed(seed))

    def spectrum(rows: np.ndarray) -> np.ndarray:
        rows = rows - rows.mean(axis=0)
        return np.linalg.eigvalsh(rows @ rows.T)

    np.testing.assert_allclose(spectrum(drawn), spectrum(matrix), atol=1e-8 * spectrum(matrix).max())
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=1e-9 * np.abs(drawn).max())
    assert not np.allclose(cosines(drawn), cosines(matrix), atol=1e-3)


def test_superclasses_share_half_of_an_anchor() -> None:
    homes = np.repeat(np.arange(20), 5)
    anchors = superclass_anchors(homes.tolist(), 100, 4000, torch.Generator().manual_seed(0)).double().numpy()
    assert anchors.var() == pytest.approx(1, abs=0.02)
    gram = anchors @ anchors.T / 4000
    same = (homes[:, None] == homes[None]) & ~np.eye(100, dtype=bool)
    assert gram[same].mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(gram[homes[:, None] != homes[None]]).max() < 0.1


@pytest.mark.parametrize("kind", ANCHOR_KINDS)
def test_drawn_kinds_are_those_of_class_anchors(kind: str) -> None:
    size = (7, 5) if kind in ("normal", "tight_frame", "separated") else (4, 6)
    assert torch.equal(draw_anchors(kind, *size, seed=3), class_anchors(kind, *size, seed=3))


def test_names_decide_the_anchors(encoder: np.ndarray) -> None:
    anchors = draw_anchors("text", 5, 8, seed=0, class_names=NAMES).double().numpy()
    np.testing.assert_allclose(anchors @ anchors.T / 8, cosines(encoder), atol=1e-5)
    backwards = draw_anchors("text", 5, 8, seed=0, class_names=NAMES[::-1]).double().numpy()
    np.testing.assert_allclose(backwards, anchors[::-1], atol=1e-5)


def test_controls_of_names(encoder: np.ndarray) -> None:
    shuffled = draw_anchors("text_shuffled", 5, 8, seed=0, class_names=NAMES).double().numpy()
    expected = np.sort(cosines(encoder).ravel())
    np.testing.assert_allclose(np.sort((shuffled @ shuffled.T / 8).ravel()), expected, atol=1e-5)
    assert not np.allclose(shuffled @ shuffled.T / 8, cosines(encoder), atol=1e-3)
    spectrum = draw_anchors("text_spectrum", 5, 8, seed=0, class_names=NAMES).double().numpy()
    assert not np.allclose(np.sort((spectrum @ spectrum.T / 8).ravel()), expected, atol=1e-3)


@pytest.mark.parametrize("method", ["SAR", "FixedAnchors"])
def test_regularizers_take_them_and_keep_them_in_the_checkpoint(
    encoder: np.ndarray, method: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "own.npy", encoder)

    def build(anchors: object, **more: object) -> SAR | FixedAnchors:
        if method == "SAR":
            return SAR(5, 8, anchors=anchors, seed=1, **more)  # type: ignore[arg-type]
        return FixedAnchors(5, 8, kind=anchors, seed=1, **more)  # type: ignore[arg-type]

    by_name, by_file, by_matrix = build("text", class_names=NAMES), build(str(tmp_path / "own.npy")), build(encoder)
    assert torch.equal(by_name.class_anchors, by_file.class_anchors)
    assert torch.equal(by_name.class_anchors, by_matrix.class_anchors)
    other = build("normal")
    other.load_state_dict(by_name.state_dict())
    assert torch.equal(other.class_anchors, by_name.class_anchors)
    repr(by_matrix)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"anchors": "txt"}, "choose one of normal, .*text.*superclasses, or name a .npy file"),
        ({"anchors": "text"}, "need the names of the classes"),
        ({"anchors": "text", "class_names": NAMES[:4]}, "4 class names for 5 classes"),
        ({"anchors": "text", "class_names": [*NAMES[:4], " "]}, "class 4 has no name"),
        ({"anchors": "text", "class_names": [*NAMES[:4], "bus"]}, "'bus' stands 2 times"),
        ({"anchors": "superclasses"}, "none are given"),
        ({"anchors": "superclasses", "superclasses": [0, 1]}, "2 are given"),
        ({"anchors": np.ones((4, 3))}, r"shape \[4, 3\].*5 classes"),
        ({"anchors": np.full((5, 3), np.nan)}, "no finite numbers"),
        ({"anchors": np.eye(5)[[0, 1, 2, 3, 3]]}, "classes 3 and 4 have the same anchor"),
        ({"anchors": np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])}, "class 4 is the mean"),
        ({"anchors": "nowhere.npy"}, "nowhere.npy: it is not there"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        draw_anchors(num_classes=5, feat_dim=4, seed=0, **arguments)
    assert "\n" not in str(caught.value)


def test_a_tensor_of_any_kind_is_a_matrix() -> None:
    matrix = torch.nn.Linear(8, 3).weight  # a parameter
    expected = draw_anchors(matrix.detach().numpy().astype(np.float64), 3, 8, seed=1)
    assert torch.equal(draw_anchors(matrix, 3, 8, seed=1), expected)
    coarse = matrix.detach().bfloat16()
    assert torch.equal(draw_anchors(coarse, 3, 8, seed=1), draw_anchors(coarse.double().numpy(), 3, 8, seed=1))


@pytest.mark.parametrize("anchors", ["normal", "separated", np.eye(3)], ids=["normal", "separated", "a matrix"])
@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "1", True])
def test_a_seed_that_is_none(anchors: str | np.ndarray, seed: int) -> None:
    with pytest.raises(ValueError, match=r"^seed is .*: give a whole number of at least 0, or None"):
        draw_anchors(anchors, 3, 8, seed=seed)


def test_a_file_that_is_no_matrix(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"no \.npy file of numbers"):
        draw_anchors(str(tmp_path / "x.npy"), 5, 4, seed=0)
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"no \.npy file of numbers"):
        draw_anchors(str(tmp_path / "pickled.npy"), 5, 4, seed=0)
