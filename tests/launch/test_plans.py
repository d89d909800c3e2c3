"""From rows to planned runs: which, in which order, in which folders; every config is read once."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from sar_cls.cli import CONFIGS
from sar_cls.engine import recipe
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun
from sar_cls.errors import InputError
from sar_cls.launch import plans
from sar_cls.launch.plans import plan_runs
from sar_cls.suites.rows import load_suite, select_rows

SEEDS = [1270964153, 1024]


def runs_of(
    name: str, work_dir: Path, options: Options | None = None, only: list[str] | None = None
) -> list[PlannedRun]:
    rows = select_rows(load_suite(CONFIGS, name), only)
    return plan_runs(rows, SEEDS, options or Options(), work_dir)


class TestPlans:
    def test_seed_by_seed_in_the_order_of_the_table(self, tmp_path: Path) -> None:
        jobs = runs_of("digits_lt", tmp_path)
        rows = ["mixup", "mixup_sar", "mixup_mislas", "mixup_sar_mislas"]
        assert [(job.seed, job.row) for job in jobs] == [(seed, row) for seed in SEEDS for row in rows]
        assert jobs[0].title == "[1/8] digits_lt/mixup seed 1270964153"
        assert jobs[-1].title == "[8/8] digits_lt/mixup_sar_mislas seed 1024"
        assert {job.suite for job in jobs} == {"digits_lt"}

    def test_a_second_stage_follows_the_first_stage_of_its_row_and_seed(self, tmp_path: Path) -> None:
        jobs = runs_of("digits_lt", tmp_path)
        folders = [job.run_dir for job in jobs]
        for index, job in enumerate(jobs):
            expected = job.row.removesuffix("_mislas")
            if expected == job.row:
                assert job.stage1_dir is None
            else:
                assert job.stage1_dir == tmp_path / "digits_lt" / expected / f"seed{job.seed}"
                assert folders.index(job.stage1_dir) < index
                assert job.source.config == CONFIGS / "digits_lt" / "mislas.py"
        assert len(set(folders)) == len(folders)

    def test_included_suites_come_along(self, tmp_path: Path) -> None:
        jobs = [job for job in runs_of("digits", tmp_path) if job.seed == SEEDS[0]]
        assert [job.suite for job in jobs] == ["digits"] * 5 + ["digits_lt"] * 4
        assert jobs[0].run_dir == tmp_path / "digits" / "baseline" / "seed1270964153"

    def test_a_row_of_another_suite_is_run_where_that_suite_runs_it(self, tmp_path: Path) -> None:
        """So a run that the other suite has made is not made again, and a second stage finds its first one there."""
        only = ["mixup_mislas", "mixup_sar_logit_adjustment"]
        runs = {run.row: run for run in runs_of("ablation_digits_lt", tmp_path, only=only) if run.seed == 1024}
        theirs = {run.row: run for run in runs_of("digits_lt", tmp_path) if run.seed == 1024}
        for row in ("mixup", "mixup_sar", "mixup_mislas"):
            assert (runs[row].run_dir, runs[row].recipe) == (theirs[row].run_dir, theirs[row].recipe)
        own = runs["mixup_sar_logit_adjustment"]
        assert own.run_dir == tmp_path / "ablation_digits_lt" / "mixup_sar_logit_adjustment" / "seed1024"
        assert own.stage1_dir == theirs["mixup_sar"].run_dir

    @pytest.mark.parametrize(
        ("options", "first", "second"),
        [
            (Options(), "seed1024", "seed1024"),
            (Options(epochs=20), "seed1024", "seed1024"),  # the recipe's own number
            (Options(epochs=3), "seed1024-epochs3", "seed1024-epochs3"),
            (Options(stage2_epochs=2), "seed1024", "seed1024-then2"),
            (Options(epochs=3, stage2_epochs=2), "seed1024-epochs3", "seed1024-epochs3-then2"),
            (Options(full_epochs=True), "seed1024", "seed1024-full"),
            (Options(imbalance=10), "seed1024", "seed1024"),
            (Options(imbalance=5.0), "seed1024-if5", "seed1024-if5"),
            (Options(imbalance=2.5), "seed1024-if2.5", "seed1024-if2.5"),
            (Options(imbalance="none"), "seed1024-ifnone", "seed1024-ifnone"),
            (Options(val_fraction=0.1), "seed1024-val0.1", "seed1024-val0.1"),
            (Options(bn_batch=16), "seed1024-bn16", "seed1024-bn16"),
            (Options(hold="frozen"), "seed1024", "seed1024-frozen"),
            (Options(hold="shifted_bn"), "seed1024", "seed1024"),  # the recipe's own
            (Options(precision="bf16"), "seed1024-bf16", "seed1024-bf16"),
            (
                Options(epochs=3, imbalance=5.0, val_fraction=0.2, precision="bf16"),
                "seed1024-epochs3-if5-val0.2-bf16",
                "seed1024-epochs3-if5-val0.2-bf16",
            ),
        ],
    )
    def test_names_of_folders(self, tmp_path: Path, options: Options, first: str, second: str) -> None:
        jobs = {job.row: job for job in runs_of("digits_lt", tmp_path, options) if job.seed == 1024}
        assert jobs["mixup"].run_dir == tmp_path / "digits_lt" / "mixup" / first
        assert jobs["mixup_mislas"].run_dir == tmp_path / "digits_lt" / "mixup_mislas" / second
        assert jobs["mixup_mislas"].stage1_dir == jobs["mixup"].run_dir

    def test_a_second_stage_alone_brings_its_first(self, tmp_path: Path) -> None:
        jobs = runs_of("digits_lt", tmp_path, only=["mixup_sar_mislas"])
        assert [job.row for job in jobs if job.seed == 1024] == ["mixup_sar", "mixup_sar_mislas"]
        rows = [row for row in load_suite(CONFIGS, "digits_lt").rows if row.after]
        with pytest.raises(ValueError, match="starts from mixup"):
            plan_runs(rows, SEEDS, Options(), tmp_path)

    def test_options_that_do_not_fit(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="digits/baseline is no long-tailed row: leave --imbalance out"):
            runs_of("digits", tmp_path, Options(imbalance=10))

    def test_nothing_is_written(self, tmp_path: Path) -> None:
        runs_of("digits", tmp_path / "work")
        assert list(tmp_path.iterdir()) == []

    def test_a_config_is_read_once__for_all_seeds_and_for_what_follows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read, resolve = [], recipe.resolve
        monkeypatch.setattr(
            plans, "resolve", lambda source, *rest, **more: read.append(source) or resolve(source, *rest, **more)
        )
        monkeypatch.setattr("sar_cls.engine.planned.resolve", lambda *_, **__: pytest.fail("read again"))
        runs = runs_of("digits_lt", tmp_path)
        assert len(read) == 4
        assert runs[0].config is runs[4].config
        assert runs[0].options == Options()

    def test_it_goes_to_other_processes_as_it_is(self, tmp_path: Path) -> None:
        planned = runs_of("digits_lt", tmp_path)[-1].on(device="cuda:1", threads=3)
        there = pickle.loads(pickle.dumps(planned))
        assert there.config.pretty_text == planned.config.pretty_text
        assert recipe.recipe_hash(there.config) == planned.recipe
        for name in ("source", "overrides", "title", "run_dir", "stage1_dir", "options", "epochs", "precision"):
            assert getattr(there, name) == getattr(planned, name)

    def test_a_config_that_ends_the_process_stops_the_suite_before_its_first_run(self, tmp_path: Path) -> None:
        suite = tmp_path / "own"
        suite.mkdir()
        (suite / "suite.toml").write_text(
            'title = "Own"\nmetric = "top1"\n'
            '[[rows]]\nname = "good"\nlabel = "good"\nconfig = "digits/baseline.py"\n'
            '[[rows]]\nname = "leaves"\nlabel = "leaves"\n'
        )
        (suite / "leaves.py").write_text("import sys\nsys.exit(3)\n")
        with pytest.raises(InputError, match=r"leaves\.py, line 2: SystemExit: 3; correct the config"):
            plan_runs(load_suite(tmp_path, "own").rows, [1], Options(), tmp_path / "work")
        assert not (tmp_path / "work").exists()
