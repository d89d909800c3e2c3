"""Checkpoint files: read without running code from them, and only by the run that wrote them. Kills are in tests/engine."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from sar_cls.errors import InputError
from sar_cls.runs.checkpoint import (
    FORMAT,
    UnusableCheckpoint,
    read_checkpoint,
    read_own,
    write_atomically,
    write_best,
    write_last,
)
from sar_cls.runs.folder import BEST, LAST

IDENTITY = {"recipe": "0123456789ab", "seed": "1"}


def state(**meta: Any) -> dict[str, Any]:
    return {
        "meta": {"epoch": 2, "iter": 20, **IDENTITY, **meta},
        "state_dict": {"weight": torch.arange(3.0)},
        "optimizer": {"state": {}},
        "param_schedulers": [],
        "history": [{"epoch": 1}, {"epoch": 2}],
    }


def test_round_trip(tmp_path: Path) -> None:
    write_last(tmp_path, state())
    found = read_own(tmp_path / LAST, IDENTITY)
    assert found["meta"] == state()["meta"]
    assert torch.equal(found["state_dict"]["weight"], torch.arange(3.0))
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_the_best_has_no_more_than_its_weights(tmp_path: Path) -> None:
    write_best(tmp_path, state())
    assert set(read_own(tmp_path / BEST, IDENTITY)) == {"format", "meta", "state_dict", "history"}
    (tmp_path / BEST).rename(tmp_path / LAST)
    with pytest.raises(UnusableCheckpoint, match="weights alone and no training to go on with"):
        read_own(tmp_path / LAST, IDENTITY)


def test_of_another_run(tmp_path: Path) -> None:
    write_last(tmp_path, state())
    with pytest.raises(UnusableCheckpoint, match=r"another seed \(1\) than this run \(2\)"):
        read_own(tmp_path / LAST, {**IDENTITY, "seed": "2"})
    # What earlier versions did not write down is not held against them; what they did is.
    assert read_own(tmp_path / LAST, {**IDENTITY, "test images": "x"})["meta"]["epoch"] == 2
    write_last(tmp_path, state(**{"test images": "y"}))
    with pytest.raises(UnusableCheckpoint, match="another test images"):
        read_own(tmp_path / LAST, {**IDENTITY, "test images": "x"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"meta": [1]}, "its meta is list"),
        ({"meta": {"epoch": 0, "iter": 1}}, "its epoch is 0"),
        ({"meta": {"epoch": True, "iter": 1}}, "its epoch is True"),
        ({"meta": {"epoch": 1}}, "its iter is None"),
        ({"meta": {"epoch": 1, "iter": 1, "best_from": "1"}}, "its best_from is '1'"),
        ({"meta": {"epoch": 1, "iter": 1, "threads": [1.5]}}, r"its threads are \[1.5\]"),
        ({"meta": {"epoch": 1, "iter": 1, "cpu_capabilities": "AVX2"}}, "its cpu_capabilities are 'AVX2'"),
        ({"state_dict": {"weight": 1}}, "no dict of tensors"),
        ({"format": "sar_cls checkpoint 99"}, "not written by this project"),
    ],
)
def test_what_no_run_writes(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write_atomically({"format": FORMAT, **state(), **change}, tmp_path / LAST)
    with pytest.raises(UnusableCheckpoint, match=words) as error:
        read_checkpoint(tmp_path / LAST)
    assert len(str(error.value).splitlines()) == 1


class Harmful:
    ran = False

    def __reduce__(self) -> tuple:
        return setattr, (Harmful, "ran", True)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_no_code_is_run(tmp_path: Path, how: str) -> None:
    content = {"format": FORMAT, **state(), "more": Harmful()}
    with (tmp_path / LAST).open("wb") as file:
        (torch.save if how == "torch" else pickle.dump)(content, file)
    with pytest.raises(UnusableCheckpoint, match="damaged or no checkpoint"):
        read_checkpoint(tmp_path / LAST)
    assert not Harmful.ran


def test_missing_and_unreadable_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableCheckpoint, match="no checkpoint at"):
        read_checkpoint(tmp_path / LAST)
    write_last(tmp_path, state())

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match="cannot be read") as error:
        read_checkpoint(tmp_path / LAST)
    assert not isinstance(error.value, UnusableCheckpoint)


def test_a_full_disk_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's writer hides the error of the file behind one of its own."""
    write_last(tmp_path, state())
    before = (tmp_path / LAST).read_bytes()

    def full(*_: Any) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904 - as torch does it

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_last(tmp_path, state(epoch=3))
    assert error.value.filename == str(tmp_path / LAST)
    assert (tmp_path / LAST).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [LAST]
