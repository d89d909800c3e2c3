"""Which rows are drawn side by side, and that each looks the same everywhere."""

from __future__ import annotations

from pathlib import Path

from sar_cls.cli import CONFIGS
from sar_cls.reporting.figures.sets import row_sets, row_styles
from sar_cls.suites.rows import list_suites, load_suite


def test_a_group_is_drawn_beside_its_baselines_and_the_rows_that_name_it() -> None:
    suite = load_suite(CONFIGS, "cifar100_lt")
    ran = [(row.name, 100.0) for row in suite.rows] + [("mixup_sar", 50.0)]
    sets = {one.name: [row.name for row in one.rows] for one in row_sets(suite, ran)}
    first = sets["cifar100_lt-if100-readings-of-sar-stage1"]
    assert first[:2] == ["mixup", "mixup_sar"]
    assert "mixup_sar_per_class" in first
    assert "mixup_car" not in first
    second = sets["cifar100_lt-if100-readings-of-sar-stage2"]
    assert second[:2] == ["mixup_mislas", "mixup_sar_mislas"]
    assert "cifar100_lt-if50-readings-of-sar-stage1" not in sets  # none of the group's own rows was run there
    assert not any("per_class" in row for row in sets["cifar100_lt-if100-stage1"])


def test_groups_whose_names_differ_in_what_no_file_name_keeps_are_both_drawn(tmp_path: Path) -> None:
    text = 'title = "Own"\nmetric = "top1"\n'
    for name, group in (("a", "Own: rows"), ("b", "Own rows"), ("c", "種類"), ("d", "順序")):
        text += f'\n[[rows]]\nname = "{name}"\nlabel = "{name}"\ngroup = "{group}"\n'
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "suite.toml").write_text(text, encoding="utf-8")
    sets = row_sets(load_suite(tmp_path, "own"), [(name, None) for name in "abcd"])
    assert [[row.name for row in one.rows] for one in sets] == [["a"], ["b"], ["c"], ["d"]]
    assert len({one.name for one in sets}) == 4


def test_rows_side_by_side_differ_and_a_second_stage_looks_like_its_first() -> None:
    for name in list_suites(CONFIGS):
        suite = load_suite(CONFIGS, name)
        styles = row_styles(suite)
        assert set(styles) == {row.name for row in suite.rows}
        for one in row_sets(suite, [(row.name, None) for row in suite.rows]):
            looks = [(styles[row.name].color, styles[row.name].linestyle) for row in one.rows]
            assert len(set(looks)) == len(looks), one.name
    suite = load_suite(CONFIGS, "cifar100_lt")
    styles = row_styles(suite)
    assert styles["mixup"].color == "#000000"
    assert styles["mixup_sar_mislas"] == styles["mixup_sar"]
    # cRT and LWS start from one first stage and stand side by side.
    assert styles["crt"] != styles["lws"]
