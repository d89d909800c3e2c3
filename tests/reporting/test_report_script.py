"""``benchmarks/report.py`` as a user runs it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import make_record, second_stage, write_outputs, write_run

from .report_command import ROOT, report


def test_nothing_was_run_so_the_papers_figures(tmp_path: Path) -> None:
    done = report(cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    for text in (
        "### CIFAR-100 (paper Tab. 8)",
        "(paper Tab. 9)",
        "(paper Tab. 10)",
        "| 78.78",
        "| 84.16",
        "| 48.00",
        "8.82",
    ):
        assert text in done.stdout
    assert "Digits" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_runs_that_were_only_begun(tmp_path: Path) -> None:
    run_dir = tmp_path / "work_dirs" / "digits" / "baseline" / "seed1"
    run_dir.mkdir(parents=True)
    (run_dir / "config.py").touch()
    done = report(cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert f"no run is finished, 1 begun, for example {run_dir.relative_to(tmp_path)}" in done.stderr
    assert done.stdout.startswith("### Digits")
    assert "Tab. 8" not in done.stdout


def test_suites_that_have_runs_and_bad_records_on_stderr(tmp_path: Path) -> None:
    write_run(tmp_path / "work_dirs", make_record("digits_lt", "mixup", 1, 90.0))
    write_run(tmp_path / "work_dirs", make_record("elsewhere", "mixup", 1, 90.0))
    bad = tmp_path / "work_dirs" / "digits" / "sar" / "seed1"
    bad.mkdir(parents=True)
    (bad / "record.json").write_text("{", encoding="utf-8")
    done = report(cwd=tmp_path)
    assert done.returncode == 0
    assert "90.00 (n = 1)" in done.stdout
    assert "Tab. 8" not in done.stdout
    first, second = done.stderr.splitlines()
    assert "half-written" in first
    assert "no suite 'elsewhere'" in second


def test_csv_and_recompute(tmp_path: Path) -> None:
    write_run(tmp_path, make_record("digits", "sar", 1, 11.0))
    write_outputs(tmp_path / "digits" / "sar" / "seed1", 1, skill=99)
    arguments = ("--work-dir", str(tmp_path), "--suite", "digits", "--format", "csv")
    means = []
    for extra in ((), ("--recompute",)):
        done = report(*arguments, *extra, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        frame = pd.read_csv(io.StringIO(done.stdout)).set_index(["suite", "row"])
        means.append(frame.loc[("digits", "sar"), "last_mean"])
    assert means == [11.0, 100.0]
    lines = (tmp_path / "digits" / "sar" / "seed1" / "per_class.csv").read_text().splitlines()
    assert lines[:2] == ["class,name,train_count,last_accuracy,best_accuracy", "0,,500,100.0000,"]


def test_recompute_says_once_that_old_logits_are_rounded(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_run(tmp_path, make_record("digits", "sar", seed, 11.0))
        write_outputs(tmp_path / "digits" / "sar" / f"seed{seed}", seed, dtype=np.float32 if seed == 2 else np.float16)
    arguments = ("--work-dir", str(tmp_path), "--suite", "digits")
    assert report(*arguments, cwd=tmp_path).stderr == ""
    lines = report(*arguments, "--recompute", cwd=tmp_path).stderr.splitlines()
    assert len(lines) == 1
    assert "seed1 and 1 more were saved in float16" in lines[0]


def test_recompute_without_logits_keeps_what_was_recorded(tmp_path: Path) -> None:
    write_run(tmp_path, make_record("digits", "sar", 1, 97.0))
    done = report("--work-dir", str(tmp_path), "--recompute", cwd=tmp_path)
    assert done.returncode == 0
    assert "97.00 (n = 1)" in done.stdout
    assert "recorded metrics are kept" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--work-dir", "nowhere"), "--work-dir nowhere is not a folder"),
        (("--suite", "cifar1000"), "unknown suite 'cifar1000'; did you mean"),
        (("--format", "xls"), "invalid choice: 'xls'"),
        (("--rarest", "0"), "'0' must be a whole number of at least 1"),
        (("--rarest", "4", "--by-seed"), "not allowed with argument"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = report(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_one_level_off_is_said(tmp_path: Path) -> None:
    """The paper's tables alone would look as if the runs were lost."""
    write_run(tmp_path / "work", make_record("digits", "sar", 1, 90.0))
    says = f"report.py: warning: --work-dir work/digits holds no runs: try --work-dir {tmp_path / 'work'}\n"
    assert report("--work-dir", "work/digits", cwd=tmp_path).stderr == says
    done = report("--work-dir", "work", "--suite", "cub200", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith(
        "report.py: warning: --work-dir work holds no runs of suite 'cub200': it is the folder"
    )
    assert report("--work-dir", "work", "--suite", "digits", cwd=tmp_path).stderr == ""


def test_a_file_in_the_way_below_the_folder_to_keep_in(tmp_path: Path) -> None:
    write_run(tmp_path / "work_dirs", make_record("digits", "sar", 1, 90.0))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "digits").write_text("mine")
    done = report("--keep", "kept", cwd=tmp_path)
    assert done.returncode == 2
    assert "90.00 (n = 1)" in done.stdout  # the tables come first
    (line,) = done.stderr.splitlines()
    assert line.startswith("report.py: kept/digits")
    assert line.endswith(": move it away, or give another --keep")


def test_a_suite_is_kept_with_the_runs_that_it_shows_of_another(tmp_path: Path) -> None:
    for suite, row in (("digits", "baseline"), ("digits", "car"), ("ablation_digits", "sar_plain")):
        write_run(tmp_path / "work_dirs", make_record(suite, row, 1, 90.0))
    done = report("--suite", "ablation_digits", "--keep", "kept", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "kept 2 runs in kept\n")
    kept = {
        path.parents[1].relative_to(tmp_path / "kept").as_posix() for path in tmp_path.glob("kept/*/*/*/record.json")
    }
    assert kept == {"digits/baseline", "ablation_digits/sar_plain"}
    again = report("--suite", "ablation_digits", "--work-dir", "kept", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert "+0.00 (1 pair)" in again.stdout


def test_tables_do_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / 'benchmarks' / 'report.py')!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'torch' in sys.modules, 'matplotlib' in sys.modules, file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "0 False False"


def test_runs_on_an_image_folder_have_a_table_of_their_own(tmp_path: Path) -> None:
    changes = {"dataset": "folder", "overrides": {"imbalance": "none", "dataset": "folder"}}
    groups = {"many_shot": 91.25, "medium_shot": 52.5, "few_shot": 13.75, "ece": 4.5}
    work = tmp_path / "work_dirs"
    plain = write_run(work, make_record("folder_lt", "mixup", 1, 60.0, metrics=groups, **changes))
    write_run(work, make_record("folder_lt", "mixup_sar", 1, 62.0, metrics=groups, **changes))
    write_run(work, second_stage("folder_lt", "mixup_mislas", 63.0, plain, metrics=groups, **changes))
    write_run(
        work,
        make_record("folder_lt", "ce", 1, 61.0, dataset="folder", overrides={"imbalance": 10, "dataset": "folder"}),
    )
    for arguments in ([], ["--suite", "folder_lt"]):
        done = report(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "### Image folders\n" in done.stdout
        assert "### Image folders, imbalance factor 10" in done.stdout
        assert "60.00 (n = 1)" in done.stdout
        assert "+2.00 (1 pair)" in done.stdout
        for figure in groups.values():
            assert f"{figure:.2f}" in done.stdout
        assert "paper" not in done.stdout
        for usual in ("dataset folder", "imbalance none", "not a reproduction"):  # of every run of this suite
            assert usual not in done.stdout


def test_by_seed_and_rarest_stand_in_place_of_the_suites_table() -> None:
    kept = ("--work-dir", "results/digits", "--suite", "digits_lt")
    done = report(*kept, "--by-seed", "--format", "csv", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    frame = pd.read_csv(io.StringIO(done.stdout)).set_index(["row", "seed"])
    assert len(frame) == 12
    assert frame.loc[("mixup_sar", 1024), "to_baseline"] == pytest.approx(13.9326, abs=1e-3)
    done = report(*kept, "--rarest", "4", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout.count("\n### ") == 1
    )  # after both stages; the paper has no table of digits, so its classes stay out
    assert "| mean of the 4" in done.stdout
    assert "last epoch: mean" not in done.stdout


def test_by_seed_without_anything_to_compare(tmp_path: Path) -> None:
    write_run(tmp_path / "work_dirs", make_record("digits", "baseline", 1, 90.0))
    done = report("--by-seed", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.strip() == ""
    assert done.stderr.splitlines() == [
        "report.py: warning: nothing to compare: no row was run with a seed that its baseline was run with too."
    ]


def test_runs_of_a_method_that_their_suite_has_no_row_for(tmp_path: Path) -> None:
    write_run(tmp_path / "work_dirs", make_record("digits_lt", "ldam_drw", 1, 71.0))
    write_run(tmp_path / "work_dirs", make_record("digits_lt", "gone", 1, 72.0))
    done = report(cwd=tmp_path)
    assert done.returncode == 0
    assert "71.00 (n = 1)" in done.stdout
    assert done.stderr == "report.py: warning: a run is left out: suite digits_lt has no row 'gone' (any more).\n"


def test_one_file_and_flat_lines_beside_the_tables(tmp_path: Path) -> None:
    write_run(tmp_path / "work_dirs", make_record("digits", "sar", 1, 90.0))
    done = report("--html", "new/er/r.html", "--export", "new/r.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "90.00 (n = 1)" in done.stdout
    assert done.stderr.splitlines()[-1] == "wrote new/er/r.html"
    assert "wrote new/r.jsonl (1 run)" in done.stderr
    assert "90.00" in (tmp_path / "new" / "er" / "r.html").read_text(encoding="utf-8")
    assert len((tmp_path / "new" / "r.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert not (tmp_path / "work_dirs").joinpath("r.html").exists()


def test_figures_come_last(tmp_path: Path) -> None:
    """They take minutes where there are many runs, and stopped there, nothing else is lost."""
    write_run(tmp_path / "work_dirs", make_record("digits", "sar", 1, 90.0))
    names = ("figures", "html", "export", "keep")
    done = report(*[text for name in names for text in (f"--{name}", name)], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = [line.split()[0] for line in done.stderr.splitlines() if line.startswith(("kept", "wrote", "drew"))]
    assert told == ["kept", "wrote", "wrote", "drew"]


def test_against_another_folder(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write_run(here, make_record("digits", "sar", 1, 90.0))
    write_run(there, make_record("digits", "sar", 1, 91.5))
    done = report("--work-dir", "here", "--against", "there", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "### Here, and in there" in done.stdout
    assert "-1.50 (1 pair)" in done.stdout
