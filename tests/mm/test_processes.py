"""2 and 4 processes train as one does: the same gradients within rounding, the same state on all of them to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from torch import Tensor

from mm.shared_steps import CASES
from sar_cls.mm.processes import gathered, own_batches

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not hasattr(os, "fork"), reason="needs gloo and forks"
)
PROGRAM = Path(__file__).with_name("shared_steps.py")
Results = Callable[..., dict[str, Any]]
WHOLE = [name for name, case in CASES.items() if case.norm != "own" and not case.local]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Runs all cases once; ``results(name, processes, rank)`` is what one process has left of one."""
    folder = tmp_path_factory.mktemp("steps")
    subprocess.run([sys.executable, str(PROGRAM), str(folder)], check=True, timeout=250)
    return lambda name, processes, rank=0: torch.load(folder / f"{name}.{processes}.{rank}.pt", weights_only=True)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], *, but: tuple[str, ...] = ()) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if not name.endswith(but or ("no such name",)):
            torch.testing.assert_close(
                found[name], value, rtol=1e-8, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}"
            )


def differ(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return any(not torch.allclose(found[name], value, rtol=1e-5) for name, value in expected.items())


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("name", WHOLE)
class TestLikeOneProcess:
    def test_gradients_and_all_steps(self, name: str, processes: int, results: Results) -> None:
        alone, together = results(name, 1), results(name, processes)
        assert_close(together["gradients"], alone["gradients"])
        assert_close(together["state"], alone["state"])
        for found, expected in zip(together["losses"], alone["losses"], strict=True):
            assert found == pytest.approx(expected, rel=1e-6)  # kept in float32

    def test_equal_to_the_bit_on_all(self, name: str, processes: int, results: Results) -> None:
        first = results(name, processes)
        for rank in range(1, processes):
            other = results(name, processes, rank)
            assert all(torch.equal(value, other["state"][key]) for key, value in first["state"].items())
            assert all(torch.equal(value, other["gradients"][key]) for key, value in first["gradients"].items())
            assert first["losses"] == other["losses"]


def test_sar_has_run_for_fifty_steps_with_its_gate_open(results: Results) -> None:
    for name in ("SAR", "SAR per class"):
        found = results(name, 4)
        assert len(found["losses"]) * 3 > 50
        assert bool(found["state"]["regularizer.initialized"].all())
        assert any(epoch["loss_anchor"] > 0 for epoch in found["losses"])


@pytest.mark.parametrize("name", ["CAR", "SupCon", "ARB", "LDAM"])
def test_statistics_of_each_part_on_request(name: str, results: Results) -> None:
    local, whole = results(f"{name} local", 2), results(name, 2)
    assert not local["told"]
    assert whole["told"]
    assert differ(local["gradients"], whole["gradients"])
    assert not differ(results(f"{name} local", 1)["gradients"], results(name, 1)["gradients"])


@pytest.mark.parametrize(("processes", "virtual"), [(2, 6), (4, 3)])
def test_batch_norm_of_each_part_is_that_of_virtual_batches(processes: int, virtual: int, results: Results) -> None:
    expected = results(f"norm of each part, virtual {virtual}", 1)
    found = results("norm of each part", processes)
    assert_close(found["gradients"], expected["gradients"])
    assert_close(found["state"], expected["state"])
    assert differ(found["gradients"], results("norm of each part", 1)["gradients"])
    assert all(
        torch.equal(value, results("norm of each part", processes, 1)["state"][k])
        for k, value in found["state"].items()
    )


@pytest.mark.parametrize(("processes", "virtual"), [(2, 6), (4, 3)])
def test_in_a_last_batch_that_is_not_full_it_is_not(processes: int, virtual: int, results: Results) -> None:
    """Of 7 images two processes have 3 and 4 and four have 1 and three times 2; virtual batches are of 7, and of 3 and 4."""
    expected = results(f"norm of each part, last not full, virtual {virtual}", 1)
    found = results("norm of each part, last not full", processes)
    assert_close(found["gradients"], expected["gradients"])  # of the first batch, which is full
    assert differ(found["state"], expected["state"])


@pytest.mark.parametrize(
    ("number", "batch", "processes"), [(36, 10, 2), (36, 10, 3), (7, 10, 4), (40, 10, 4), (41, 4, 3)]
)
def test_gathered_rows_are_all_in_order(
    number: int, batch: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process missing, none double, whichever has no batch of its own."""
    rows, batches, padded = torch.arange(number).float()[:, None], -(-number // batch), []
    for collect in (True, False):
        for rank in range(processes):
            monkeypatch.setattr("sar_cls.mm.processes.get_dist_info", lambda rank=rank: (rank, processes))

            def all_gather(part: Tensor, collect: bool = collect) -> list[Tensor]:
                if collect:
                    padded.append(part)
                return padded if len(padded) == processes else [part] * processes

            monkeypatch.setattr("sar_cls.mm.processes.all_gather", all_gather)
            own = own_batches(batches) or range(1)
            mine = torch.cat([rows[step * batch : (step + 1) * batch] for step in own])
            found = gathered(mine, batch, number)
    assert torch.equal(found, rows)
