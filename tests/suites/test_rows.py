"""Suites: reading, checking and choosing rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sar_cls.errors import InputError
from sar_cls.metrics.accuracy import evaluate, evaluate_calibrated
from sar_cls.metrics.segmentation import evaluate_segmentation
from sar_cls.suites.metric_names import METRICS
from sar_cls.suites.rows import SUITE_FILE, describe, list_suites, load_suite, select_rows

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HEAD = 'title = "A suite"\nmetric = "top1"\n'
ROWS = '[[rows]]\nname = "plain"\nlabel = "Plain"\n\n[[rows]]\nname = "sar"\nlabel = "+SAR"\nbaseline = "plain"\n'


def write_suite(configs: Path, text: str, name: str = "small") -> Path:
    (configs / name).mkdir(parents=True, exist_ok=True)
    path = configs / name / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_import_needs_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, sar_cls.suites.rows, sar_cls.runs.record;"
        "print([m for m in ('torch', 'pandas', 'numpy', 'scipy', 'matplotlib', 'mmengine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_shipped_suites_are_sound() -> None:
    names = list_suites(CONFIGS)
    assert {"digits", "digits_lt", "cifar100", "cifar100_lt", "cifar10_lt", "cub200"} <= set(names)
    for name in names:
        suite = load_suite(CONFIGS, name)
        assert suite.title in describe(suite)
        for row in suite.rows:
            assert row.source.config.is_file(), f"{name}/{row.name} has no config"


def test_config_is_named_after_the_row_unless_the_row_names_another(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + ROWS + 'config = "shared.py"\n')
    assert [row.source.config.name for row in load_suite(tmp_path, "small").rows] == ["plain.py", "shared.py"]


def test_default_job_shows_the_two_stages_as_well() -> None:
    digits = load_suite(CONFIGS, "digits")
    assert [suite.name for suite in digits.all_suites] == ["digits", "digits_lt"]
    assert [row.name for row in digits.rows if not row.optional] == ["baseline", "fixed", "center", "car", "sar"]
    assert [row.suite for row in select_rows(digits)] == ["digits"] * 5 + ["digits_lt"] * 4


def test_rows_of_table_10_in_the_papers_order() -> None:
    rows = select_rows(load_suite(CONFIGS, "cifar100_lt"))
    first = [(row.label, row.stage, row.after) for row in rows if row.stage == 1]
    assert first == [("MixUp", 1, None), ("MixUp+CAR", 1, None), ("MixUp+SAR", 1, None)]
    assert [row.after for row in rows if row.stage == 2] == ["mixup", "mixup_car", "mixup_sar"]


def test_optional_rows_run_only_on_request() -> None:
    suite = load_suite(CONFIGS, "cifar100_lt")
    assert "ce" not in {row.name for row in select_rows(suite)}
    assert "ce" in {row.name for row in select_rows(suite, all_rows=True)}
    assert [row.name for row in select_rows(suite, ["focal"])] == ["focal"]


def test_a_second_stage_brings_its_first_stage_along_and_order_is_the_tables() -> None:
    suite = load_suite(CONFIGS, "cifar100_lt")
    assert [row.name for row in select_rows(suite, ["crt", "mixup_sar"])] == ["mixup_sar", "ce", "crt"]


def test_row_of_an_included_suite_may_be_named_with_its_suite() -> None:
    digits = load_suite(CONFIGS, "digits")
    assert [(row.suite, row.name) for row in select_rows(digits, ["digits_lt/mixup"])] == [("digits_lt", "mixup")]


def test_unknown_suite_and_row_suggest_near_names() -> None:
    with pytest.raises(InputError, match=r"unknown suite 'cifar_100'; did you mean .*cifar100"):
        load_suite(CONFIGS, "cifar_100")
    with pytest.raises(InputError, match=r"unknown suite '\.\./digits'"):
        load_suite(CONFIGS, "../digits")
    with pytest.raises(InputError, match=r"unknown row 'resnet18_sra' in suite 'cifar100'; did you mean resnet18_sar"):
        select_rows(load_suite(CONFIGS, "cifar100"), ["resnet18_sra"])
    with pytest.raises(InputError, match="known are baseline, fixed"):
        select_rows(load_suite(CONFIGS, "digits"), ["qqqq"])


@pytest.mark.parametrize("line", ['metric = "top_1"', 'metric = "top1"\nextra_metrics = ["top1", "mny_shot"]'])
def test_a_metric_that_no_record_has(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine").mkdir()
    text = f'title = "T"\n{line}\n[[rows]]\nname = "a"\nlabel = "A"\nconfig = "digits/baseline.py"\n'
    (tmp_path / "mine" / SUITE_FILE).write_text(text)
    with pytest.raises(InputError, match=r"suite.toml:[23]: unknown metric '(top_1|mny_shot)'; did you mean"):
        load_suite(tmp_path, "mine")


def test_the_metrics_of_suites_are_those_of_records() -> None:
    logits, labels = torch.eye(10), torch.arange(10)
    found = evaluate(logits, labels, [200] * 4 + [50] * 3 + [5] * 3, superclasses=[0] * 10) | evaluate_calibrated(
        logits, labels, logits, labels
    )
    found |= evaluate_segmentation(torch.eye(150, dtype=torch.int64), list(range(150, 0, -1)))
    counted = {"pixels"}
    assert set(METRICS) == {name for name, value in found.items() if not isinstance(value, list)} - counted


def test_folder_without_suites(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no suites in"):
        load_suite(tmp_path, "digits")


BORROWED = '[[rows]]\nname = "sar"\nsuite = "small"\nlabel = "All of it"\n'
OTHER = HEAD + '[[rows]]\nname = "plain"\nlabel = "As before"\nsuite = "small"\ngroup = "G"\n\n' + BORROWED


def test_a_row_of_another_suite_keeps_its_runs_and_recipe_and_has_a_label_of_its_own(tmp_path: Path) -> None:
    set_tau = 'set.model.head.tau = 0.7\nconfig = "shared.py"\npaper = "SAR"\noptional = true\n'
    write_suite(tmp_path, HEAD + ROWS + set_tau)
    like = '\n[[rows]]\nname = "sar_2"\nlabel = "More"\nlike = "sar"\nbaseline = "sar"\nset.model.head.delta = 0.5\n'
    write_suite(tmp_path, OTHER + 'baseline = "plain"\n' + like, "other")
    origin = load_suite(tmp_path, "small").row("sar")
    plain, sar, more = load_suite(tmp_path, "other").rows
    assert [row.key for row in (plain, sar, more)] == [("small", "plain"), ("small", "sar"), ("other", "sar_2")]
    assert sar.source == origin.source
    assert (sar.label, sar.baseline, sar.paper, sar.optional) == ("All of it", "plain", None, False)
    assert (origin.label, origin.paper, origin.optional) == ("+SAR", "SAR", True)
    assert (plain.group, plain.baseline) == ("G", None)
    assert more.source.config == origin.source.config
    assert more.source.changes == {"model": {"head": {"tau": 0.7, "delta": 0.5}}}
    assert "All of it (runs of small)" in describe(load_suite(tmp_path, "other"))
    assert "(runs of" not in describe(load_suite(tmp_path, "small"))


def test_a_second_stage_after_a_row_of_another_suite(tmp_path: Path) -> None:
    second = '\n[[rows]]\nname = "then"\nlabel = "Then"\nafter = "sar"\n'
    write_suite(tmp_path, HEAD + ROWS + second)
    theirs = '\n[[rows]]\nname = "then"\nlabel = "Then"\nsuite = "small"\n'
    ours = '\n[[rows]]\nname = "later"\nlabel = "Later"\nafter = "sar"\nbaseline = "then"\n'
    write_suite(tmp_path, OTHER + theirs + ours, "other")
    suite = load_suite(tmp_path, "other")
    assert [(row.key, row.first) for row in suite.rows if row.stage == 2] == [
        (("small", "then"), ("small", "sar")),
        (("other", "later"), ("small", "sar")),
    ]
    assert [row.key for row in select_rows(suite, ["later"])] == [("small", "sar"), ("other", "later")]
    assert [row.key for row in select_rows(suite, ["small/then"])] == [("small", "sar"), ("small", "then")]
    assert suite.full_label(suite.row("later")) == "All of it, Later"
    own = load_suite(tmp_path, "small")
    assert own.row("then").first == ("small", "sar")
    assert own.row("sar").first is None


def test_a_suite_kept_elsewhere_takes_a_row_of_one_that_comes_along(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + '[[rows]]\nname = "sar"\nsuite = "digits"\nlabel = "Theirs"\n')
    (row,) = load_suite(tmp_path, "small").rows
    assert row.key == ("digits", "sar")
    assert row.source == load_suite(CONFIGS, "digits").row("sar").source


def test_a_row_that_an_included_suite_has_as_well_is_run_once(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + ROWS)
    write_suite(tmp_path, OTHER.replace("[[rows]]", 'include = ["small"]\n\n[[rows]]', 1), "other")
    assert [row.key for row in select_rows(load_suite(tmp_path, "other"))] == [("small", "plain"), ("small", "sar")]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            'suite = "small"\nlabel = "All',
            'suite = "smal"\nlabel = "All',
            11,
            "unknown suite 'smal'; did you mean small?",
        ),
        ('name = "sar"', 'name = "srr"', 11, "unknown row 'srr' in suite 'small'; did you mean sar?"),
        ('suite = "small"\nlabel = "All', 'suite = "other"\nlabel = "All', 11, "suite 'other' is this one"),
        (
            '"All of it"\n',
            '"All of it"\nconfig = "plain.py"\n',
            13,
            "config stands in suite 'small' for this row; leave",
        ),
        ('"All of it"\n', '"All of it"\nset.a = 1\n', 13, "set stands in suite 'small'"),
        ('name = "sar"', 'name = "plain"', 10, "stands twice"),
        ('name = "sar"', 'name = "then"', 11, "starts from small/sar, which must stand above in this suite"),
    ],
)
def test_a_row_of_another_suite_that_is_not_there(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    write_suite(tmp_path, HEAD + ROWS + '\n[[rows]]\nname = "then"\nlabel = "Then"\nafter = "sar"\n')
    assert old in OTHER
    path = write_suite(tmp_path, OTHER.replace(old, new), "other")
    with pytest.raises(InputError) as caught:
        load_suite(tmp_path, "other")
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_suites_that_take_rows_of_each_other(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + '[[rows]]\nname = "x"\nlabel = "X"\nsuite = "b"\n', "a")
    path = write_suite(tmp_path, HEAD + '[[rows]]\nname = "x"\nlabel = "X"\nsuite = "a"\n', "b")
    with pytest.raises(InputError, match=r"suite 'b' is this one, or takes rows of it itself") as caught:
        load_suite(tmp_path, "b")
    assert str(caught.value).startswith(f"{path}:6: ")


def test_suites_that_include_each_other(tmp_path: Path) -> None:
    write_suite(tmp_path, HEAD + 'include = ["b"]\n' + ROWS, "a")
    write_suite(tmp_path, HEAD + 'include = ["a"]\n' + ROWS, "b")
    with pytest.raises(InputError, match=r"b/suite.toml:3: suite 'a' includes itself"):
        load_suite(tmp_path, "a")
