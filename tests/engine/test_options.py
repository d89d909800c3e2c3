"""What the command line says about every run: devices, threads, seeds."""

from __future__ import annotations

import os

import pytest
import torch

from sar_cls.bounds import MOST_THREADS, SEEDS
from sar_cls.engine.options import Options, check_seed, threads, threads_of_each, usable_device
from sar_cls.errors import InputError


class TestDevices:
    def test_absent_cuda(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        for name in ("cuda", "cuda:1"):
            with pytest.raises(InputError, match="sees no CUDA device; use --device cpu"):
                usable_device(name)
        assert usable_device(None) == usable_device("cpu") == "cpu"
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
        assert usable_device("cuda:1") == "cuda:1"
        with pytest.raises(InputError, match="only 2 CUDA devices"):
            usable_device("cuda:2")

    @pytest.mark.parametrize("name", ["gpu", "cuda:x", "tpu", "meta", "mps"])
    def test_unknown(self, name: str) -> None:
        with pytest.raises(InputError, match="cpu"):
            usable_device(name)


class TestThreads:
    def test_inside_the_block_alone__also_after_an_error(self) -> None:
        before = torch.get_num_threads()
        with threads(before + 1):
            assert torch.get_num_threads() == before + 1
        assert torch.get_num_threads() == before
        with pytest.raises(KeyError), threads(before + 1):
            raise KeyError
        assert torch.get_num_threads() == before
        with threads(None):
            assert torch.get_num_threads() == before

    @pytest.mark.parametrize("number", [0, -1, MOST_THREADS + 1])
    def test_impossible_numbers(self, number: int) -> None:
        with pytest.raises(InputError, match=f"set --threads to a number from 1 to {MOST_THREADS}"), threads(number):
            pass

    def test_impossible_ones_of_the_environment_name_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: MOST_THREADS + 1)
        with pytest.raises(InputError, match="set OMP_NUM_THREADS"), threads(None):
            pass

    @pytest.mark.parametrize(("cores", "runs", "share"), [(8, 2, 4), (8, 3, 2), (2, 8, 1), (1, 2, 1)])
    def test_a_share_of_the_cores(self, cores: int, runs: int, share: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        assert threads_of_each(runs) == share
        assert threads_of_each(1) == torch.get_num_threads()


def test_seeds() -> None:
    for seed in (0, SEEDS - 1):
        check_seed(seed)
    for seed in (-1, SEEDS):
        with pytest.raises(InputError, match=f"use one from 0 to {SEEDS - 1}"):
            check_seed(seed)


def test_they_are_compared_by_value_and_never_changed() -> None:
    assert Options() == Options(memory_format="channels_last")
    with pytest.raises(AttributeError):
        Options().epochs = 3  # type: ignore[misc]
