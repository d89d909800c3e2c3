"""Going on with another number of threads, on other CPUs, or where a seed or device cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from stopped_runs import stop_after

from sar_cls.engine import run as engine
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError

MakeJob = Callable[..., Job]


class TestThreads:
    def test_another_number_is_said_and_recorded(
        self, make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job, before = make_job(), torch.get_num_threads()
        stop_after(1, job, cache, Options(threads=1))
        record = engine.run(job, Options(threads=2), cache)
        assert "with 1 threads so far and goes on with 2" in capsys.readouterr().err
        assert (record["machine"]["threads"], record["machine"]["threads_used"]) == (2, [1, 2])
        assert torch.get_num_threads() == before

    def test_the_same_number_is_not_worth_a_word(
        self, make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = make_job()
        stop_after(1, job, cache, Options(threads=2))
        record = engine.run(job, Options(threads=2), cache)
        assert "threads" not in capsys.readouterr().err
        assert record["machine"]["threads"] == 2
        assert "threads_used" not in record["machine"]

    @pytest.mark.parametrize("number", [0, -1, 10**6])
    def test_impossible_numbers(self, number: int, make_job: MakeJob, cache: DataCache) -> None:
        with pytest.raises(InputError, match="from 1 to 1024"):
            engine.run(make_job(), Options(threads=number), cache)


def test_impossible_seeds_and_devices(make_job: MakeJob, cache: DataCache) -> None:
    for seed in (-1, 2**32, 10**30):
        with pytest.raises(InputError, match="from 0 to 4294967295"):
            engine.run(replace(make_job(), seed=seed), Options(), cache)
    with pytest.raises(InputError, match="use --device cpu"):
        engine.run(make_job(), Options(device="cpu:1"), cache)


def test_cpu_0_is_the_cpu(make_job: MakeJob, cache: DataCache) -> None:
    job = make_job(seed=2**32 - 1)
    record = engine.run(job, Options(device="cpu:0", epochs=1), cache)
    assert record["device"] == "cpu"


class TestInstructions:
    """Processors of one name can differ in them, and a run can be carried from one to the other."""

    def test_others_are_said_and_recorded(
        self, make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = make_job()
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
        stop_after(1, job, cache)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
        record = engine.run(job, Options(), cache)
        assert "AVX512 instructions so far and goes on with AVX2" in capsys.readouterr().err
        machine = record["machine"]
        assert (machine["cpu_capability"], machine["cpu_capabilities_used"]) == ("AVX2", ["AVX512", "AVX2"])

    def test_the_same_are_not_worth_a_word(
        self, make_job: MakeJob, cache: DataCache, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = make_job()
        stop_after(1, job, cache)
        record = engine.run(job, Options(), cache)
        assert "instructions" not in capsys.readouterr().err
        assert record["machine"]["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
        assert "cpu_capabilities_used" not in record["machine"]
