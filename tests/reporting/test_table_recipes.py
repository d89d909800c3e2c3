"""Which runs a table puts on one line, what it marks, and what it compares: only runs of one recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import SHA_TEST, make_record, write_run

from sar_cls.reporting.tables.suite_tables import suite_tables
from sar_cls.suites.rows import Suite

from .table_suites import SMALL, cells, make_suite


def test_shortened_runs_have_a_line_of_their_own_and_no_difference_to_the_paper(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 78.0))
    for row, top1 in (("resnet18", 30.0), ("resnet18_sar", 31.5)):
        write_run(tmp_path, make_record("cifar100", row, 1, top1, epochs=20), "seed1-epochs20")
    tables = suite_tables(small, tmp_path)
    assert cells(tables) == [
        ["ResNet-18", "78.07", "78.00 (n = 1)", "78.50", "-0.07", "–"],
        ["ResNet-18 (20 of 200 epochs) [1]", "–", "30.00 (n = 1)", "30.50", "–", "–"],
        ["ResNet-18+SAR (20 of 200 epochs) [1]", "78.78", "31.50 (n = 1)", "32.00", "–", "+1.50 (1 pair)"],
    ]
    assert tables.tables[0].notes[0] == "[1] 20 of 200 epochs: not a reproduction."
    assert list(tables.frame["reproduction"]) == [True, False, False]


def test_other_overrides_are_marked_too(small: Suite, tmp_path: Path) -> None:
    write_run(
        tmp_path, make_record("cifar100", "resnet18", 1, 78.0, overrides={"val_fraction": 0.1, "full_epochs": True})
    )
    assert cells(suite_tables(small, tmp_path))[0][0] == "ResNet-18 (full epochs, val fraction 0.1) [1]"


@pytest.mark.parametrize(
    ("weights", "shown"),
    [
        (
            "efficientnet-lite0-57934424-57934424",
            "efficientnet-lite0-57934424",
        ),  # the file's own name ends with its hash
        ("mine-0123abcd", "mine-0123abcd"),
        ("mine-57934424-0123abcd", "mine-57934424-0123abcd"),
    ],
)
def test_the_hash_of_weights_is_shown_once(small: Suite, tmp_path: Path, weights: str, shown: str) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 78.0, overrides={"weights": weights}))
    assert cells(suite_tables(small, tmp_path))[0][0] == f"ResNet-18 (weights {shown}) [1]"


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"precision": "bf16"}, "ResNet-18 (bf16)"),
        ({"config_hash": "fedcba9876543210"}, "ResNet-18 (config fedcba98)"),
        ({"data_fingerprint": {"train": "c" * 64, "test": SHA_TEST}}, "ResNet-18 (data cccccccc)"),
    ],
)
def test_runs_of_different_recipes_are_never_averaged(small: Suite, tmp_path: Path, change: dict, label: str) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    write_run(tmp_path, make_record("cifar100", "resnet18", 2, 72.0))
    write_run(tmp_path, make_record("cifar100", "resnet18", 3, 90.0, **change))
    lines = cells(suite_tables(small, tmp_path))
    assert len(lines) == 3  # two of the plain net, one empty of SAR
    assert {line[2] for line in lines} == {"71.00 ± 1.41 (n = 2)", "90.00 (n = 1)", "–"}
    assert label in [line[0] for line in lines]


@pytest.mark.parametrize(
    "change", [{"data_fingerprint": {"train": "c" * 64, "test": SHA_TEST}}, {"precision": "bf16"}, {"epochs": 20}]
)
def test_rows_are_compared_only_by_comparable_recipes(small: Suite, tmp_path: Path, change: dict) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    write_run(tmp_path, make_record("cifar100", "resnet18_sar", 1, 71.0, **change))
    assert cells(suite_tables(small, tmp_path))[1][-1] == "–"


def test_of_several_baselines_the_one_with_more_common_seeds_then_the_newer(small: Suite, tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path, make_record("cifar100", "resnet18", seed, 70.0), f"seed{seed}")
        write_run(tmp_path, make_record("cifar100", "resnet18_sar", seed, 71.0))
    newer = {"config_hash": "other", "finished_at": "2025-01-01T00:00:00+00:00"}
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 60.0, **newer), "seed1-new")
    assert cells(suite_tables(small, tmp_path))[-1][-1].startswith("+1.00 [")
    write_run(tmp_path, make_record("cifar100", "resnet18", 2, 60.0, **newer), "seed2-new")
    assert cells(suite_tables(small, tmp_path))[-1][-1].startswith("+11.00 [")


def test_a_seed_that_was_run_twice_counts_once(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0, finished_at="2024-05-01T00:00:00+00:00"), "a")
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 60.0, finished_at="2024-04-01T00:00:00+00:00"), "b")
    sentences: list[str] = []
    assert cells(suite_tables(small, tmp_path, warn=sentences.append))[0][2] == "70.00 (n = 1)"
    assert sentences == ["cifar100/resnet18 was run twice with seed 1: the newer run counts."]


def test_half_written_records_and_unknown_rows_are_left_out(small: Suite, tmp_path: Path) -> None:
    write_run(tmp_path, make_record("cifar100", "resnet18", 1, 70.0))
    write_run(tmp_path, make_record("cifar100", "gone", 1, 70.0))
    broken = tmp_path / "cifar100" / "resnet18" / "seed2"
    broken.mkdir()
    (broken / "record.json").write_text('{"schema": 1, "suite": "cif', encoding="utf-8")
    sentences: list[str] = []
    assert cells(suite_tables(small, tmp_path, warn=sentences.append))[0][2] == "70.00 (n = 1)"
    assert len(sentences) == 2
    assert "half-written" in sentences[0]
    assert "no row 'gone'" in sentences[1]


class TestNotesOnRuns:
    """What the records say about threads and lost checkpoints is said under the table."""

    def notes(self, tmp_path: Path, ours: dict, theirs: dict, **changes: object) -> str:
        suite = make_suite(tmp_path, "s", SMALL)
        write_run(tmp_path, make_record("s", "resnet18", 1, 70.0, machine=theirs, **changes))
        write_run(tmp_path, make_record("s", "resnet18_sar", 1, 71.0, machine=ours, **changes))
        return suite_tables(suite, tmp_path).to_markdown()

    @pytest.mark.parametrize(
        ("ours", "theirs", "device", "said"),
        [
            ({"threads": 1}, {"threads": 2}, "cpu", True),
            ({"threads": 2, "threads_used": [1, 2]}, {"threads": 2}, "cpu", True),
            ({"threads": 2}, {"threads": 2}, "cpu", False),
            ({"threads": 1}, {"threads": 2}, "cuda", False),
            ({"threads": 1}, {}, "cpu", False),  # an old record does not know
            ({}, {}, "cpu", False),
        ],
    )
    def test_pairs_of_other_threads(self, tmp_path: Path, ours: dict, theirs: dict, device: str, said: bool) -> None:
        text = self.notes(tmp_path, ours, theirs, device=device)
        assert "+1.00 (1 pair)" in text
        assert ("different numbers of CPU threads" in text) == said

    @pytest.mark.parametrize(
        ("ours", "theirs", "device", "said"),
        [
            ({"cpu_capability": "AVX2"}, {"cpu_capability": "AVX512"}, "cpu", True),
            (
                {"cpu_capability": "AVX2", "cpu_capabilities_used": ["AVX512", "AVX2"]},
                {"cpu_capability": "AVX2"},
                "cpu",
                True,
            ),
            ({"cpu_capability": "AVX2"}, {"cpu_capability": "AVX2"}, "cpu", False),
            ({"cpu_capability": "AVX2"}, {"cpu_capability": "AVX512"}, "cuda", False),
            ({"cpu_capability": "AVX2"}, {}, "cpu", False),  # an old record does not know
        ],
    )
    def test_pairs_of_other_instructions(
        self, tmp_path: Path, ours: dict, theirs: dict, device: str, said: bool
    ) -> None:
        text = self.notes(tmp_path, ours, theirs, device=device)
        assert ("CPUs of different instructions" in text) == said
        assert ("on cpu (AVX2) in fp32" in text) == (device == "cpu")

    @pytest.mark.parametrize(
        ("ours", "theirs", "device", "said"),
        [
            ({"accelerator": "A card"}, {"accelerator": None}, "cuda:0", True),
            ({"accelerator": "A card"}, {"accelerator": "Another"}, "cuda", True),
            ({"accelerator": "A card"}, {"accelerator": "A card"}, "cuda:0", False),
            ({"accelerator": None, "cpu": "one"}, {"cpu": "another"}, "cpu", False),
        ],
    )
    def test_pairs_of_other_devices(self, tmp_path: Path, ours: dict, theirs: dict, device: str, said: bool) -> None:
        assert (
            "Some pairs were computed on different devices" in self.notes(tmp_path, ours, theirs, device=device)
        ) == said

    def test_a_lost_best_epoch(self, tmp_path: Path) -> None:
        text = self.notes(tmp_path, {}, {}, extra={"lost_best_epoch": 3, "best_searched_from": 4})
        assert "In 2 runs the checkpoint of the best epoch was lost" in text
