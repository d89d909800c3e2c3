"""npz files of a run: whole, or one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sar_cls.errors import InputError
from sar_cls.runs.arrays import read_arrays


def read(path: Path) -> list[int]:
    return read_arrays(
        path,
        lambda arrays: [int(value) for value in arrays["x"]],
        lambda found: "too short" if len(found) < 2 else None,
        "numbers",
    )


def test_a_whole_file_is_what_is_built_of_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([3, 1, 2]))
    assert read(tmp_path / "a.npz") == [3, 1, 2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing; move the folder {folder} away and run this row again to have its numbers"),
        (b"text", "); move the folder {folder} away and run this row again."),
        ({"y": np.zeros(2)}, "is damaged"),
        ({"x": np.array([{}, {}], dtype=object)}, "is damaged"),
        ({"x": np.array([1])}, "is damaged (too short); move the folder {folder} away"),
    ],
    ids=["missing", "no archive", "another array", "a pickle", "unsound"],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, content: object, said: str) -> None:
    path = tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} ")
    assert said.format(folder=tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
