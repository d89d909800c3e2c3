"""The history of a run: a row an epoch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sar_cls.errors import InputError
from sar_cls.runs.folder import HISTORY_FILE
from sar_cls.runs.history import read_history, trained_so_far, write_history


def test_round_trip__a_column_that_comes_later_is_empty_before(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-30, "share": 0.5}]
    write_history(rows, tmp_path)
    found = read_history(tmp_path)
    assert list(found.columns) == ["epoch", "loss", "share"]
    assert found["loss"].tolist() == [0.1 + 0.2, 1e-30]
    assert math.isnan(found["share"][0])
    assert found["share"][1] == 0.5
    assert [path.name for path in tmp_path.iterdir()] == [HISTORY_FILE]


def test_all_rows_are_written_each_time(tmp_path: Path) -> None:
    for epochs in (1, 2, 1):
        write_history([{"epoch": epoch} for epoch in range(1, epochs + 1)], tmp_path)
        assert len(read_history(tmp_path)) == epochs


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing"),
        (b"", "is damaged"),
        (b"epoch,loss\n", "holds no epochs"),
        (b"loss\n1\n", "holds no epochs"),
        (b"\xff\xfe\x00", "is damaged"),
        (b'epoch,loss\n1,"2\n', "is damaged"),
        (b"epoch,loss\n1,2\n1,2,3,4\n", "is damaged"),
        (b"epoch,loss\n1,0.25\n2,0.2", "its last line is cut off"),
    ],
)
def test_what_is_no_history_is_one_sentence(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / HISTORY_FILE).write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        read_history(tmp_path)
    assert str(tmp_path / HISTORY_FILE) in str(error.value)
    # with its record there, the row is taken for finished, and the same command would leave it as it is
    assert f"move the folder {tmp_path} away and run this row again" in str(error.value)


@pytest.mark.parametrize(
    ("rows", "epochs", "words"),
    [
        ([{"epoch": 1}, {"epoch": 2}], 2, ""),
        ([{"epoch": 1}, {"epoch": 2}], 5, "it ends at epoch 2 and the run at 5"),
        ([{"epoch": 1}, {"epoch": 2}], 1, "it ends at epoch 2 and the run at 1"),
        # of a recipe of iterations a row is an evaluation, and the last one stands at the last iteration
        ([{"epoch": 1, "iteration": 150}, {"epoch": 2, "iteration": 200}], 200, ""),
        ([{"epoch": 1, "iteration": 150}], 200, "it ends at iteration 150 and the run at 200"),
    ],
)
def test_a_history_that_ends_before_its_run(
    tmp_path: Path, rows: list[dict[str, int]], epochs: int, words: str
) -> None:
    write_history(rows, tmp_path)
    assert len(read_history(tmp_path)) == len(rows)  # without a record nobody knows
    if not words:
        assert len(read_history(tmp_path, {"epochs": epochs})) == len(rows)
        return
    with pytest.raises(InputError, match=words) as error:
        read_history(tmp_path, {"epochs": epochs})
    assert f"move the folder {tmp_path} away" in str(error.value)


@pytest.mark.parametrize(
    ("content", "trained"),
    [
        (None, 0),
        (b"", 0),
        (b"epoch,loss\n", 0),
        (b"\xff\xfe\x00", 0),
        (b"epoch,loss\n1,0.5\n2,0.4\n", 2),
        (b"epoch,iteration,loss\n1,150,0.5\n2,300,0.4\n", 300),
        (b"epoch,iteration,loss\n1,,0.5\n", 1),
        (b"epoch,iteration\n1,many\n", 0),
    ],
)
def test_what_a_run_has_trained_so_far(tmp_path: Path, content: bytes | None, trained: int) -> None:
    if content is not None:
        (tmp_path / HISTORY_FILE).write_bytes(content)
    assert trained_so_far(tmp_path) == trained


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / HISTORY_FILE).mkdir()
    with pytest.raises(InputError, match="a folder is where a file should be"):
        read_history(tmp_path)


@pytest.mark.filterwarnings("error")
def test_numbers_come_back_to_the_bit(tmp_path: Path) -> None:
    """Without a warning of pandas, whose argument for it comes and goes."""
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(2000) * 10.0 ** rng.integers(-12, 12, 2000)).tolist()
    write_history([{"epoch": epoch, "loss": value} for epoch, value in enumerate(values, 1)], tmp_path)
    assert read_history(tmp_path)["loss"].tolist() == values
