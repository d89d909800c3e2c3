"""Published figures of another task stand under a heading of their own."""

from __future__ import annotations

from pathlib import Path

from synthetic_runs import make_record, second_stage, write_run

from sar_cls.official_images import RECOVERED
from sar_cls.reporting.tables.suite_tables import suite_tables
from sar_cls.suites.rows import Suite

from .table_suites import cells, make_suite

OTHER_TASK = """
title = "Ablation"
paper_table = "7"
paper_dataset = "Cityscapes"
paper_task = "segmentation, HRNet on Cityscapes, mIoU"
metric = "top1"
extra_metrics = ["ece"]

[[rows]]
name = "ce"
label = "CE"
paper = "CE"

[[rows]]
name = "nd"
label = "CE+p2a"
baseline = "ce"
paper = "CE+p2a ND"
"""

RECOVERED_ORDER = {"data_order": RECOVERED}


class TestFiguresOfAnotherTask:
    """They are shown under their own heading and never set against ours."""

    def test_table(self, tmp_path: Path) -> None:
        suite = make_suite(tmp_path, "ablation", OTHER_TASK)
        for seed in (1, 2):
            write_run(tmp_path, make_record("ablation", "ce", seed, 70.0 + seed))
            write_run(tmp_path, make_record("ablation", "nd", seed, 71.0 + seed))
        tables = suite_tables(suite, tmp_path)
        table = tables.tables[0]
        assert table.title == "Ablation (paper Tab. 7, of another task)"
        assert list(table.frame.columns[:5]) == [
            "method",
            "paper (segmentation, HRNet on Cityscapes, mIoU)",
            "last epoch: mean ± std (n)",
            "best epoch",
            "Δ CE [95 %]",
        ]
        assert [line[:4] for line in cells(tables)] == [
            ["CE", "79.90", "71.50 ± 0.71 (n = 2)", "72.00 ± 0.71"],
            ["CE+p2a", "79.80 to 80.30", "72.50 ± 0.71 (n = 2)", "73.00 ± 0.71"],
        ]
        assert "Δ paper" not in tables.to_markdown()
        assert any("of another task (segmentation, HRNet on Cityscapes, mIoU)" in note for note in table.notes)
        assert list(tables.frame["paper"]) == [79.9, 79.8]
        assert list(tables.frame["paper_max"])[1] == 80.3
        assert set(tables.frame["paper_task"]) == {"segmentation, HRNet on Cityscapes, mIoU"}
        assert tables.frame["to_paper"].isna().all()

    def test_of_our_task_without_the_key(self, small: Suite, tmp_path: Path) -> None:
        write_run(tmp_path, make_record("cifar100", "resnet18", 1, 78.0))
        frame = suite_tables(small, tmp_path).frame
        assert frame["paper_task"].isna().all()
        assert frame["to_paper"].notna().any()

    def test_both_stages(self, tmp_path: Path) -> None:
        text = OTHER_TASK.replace("[[rows]]", "imbalance = 100\n[[rows]]", 1)
        text += '[[rows]]\nname = "nd_mislas"\nlabel = "MiSLAS"\nafter = "nd"\n'
        suite = make_suite(tmp_path, "ablation", text)
        one = write_run(tmp_path, make_record("ablation", "nd", 1, 39.0))
        write_run(tmp_path, second_stage("ablation", "nd_mislas", 47.0, one))
        frame = suite_tables(suite, tmp_path).tables[0].frame
        assert [list(line) for line in frame.filter(like="paper").itertuples(index=False)] == [
            ["79.90", "–"],
            ["79.80 to 80.30", "–"],
        ]
        assert [name for name in frame.columns if "paper" in name] == [
            f"{stage}: paper (segmentation, HRNet on Cityscapes, mIoU)" for stage in (1, 2)
        ]

    def test_images_of_a_tail_without_a_figure_of_our_task_need_not_be_the_published_ones(self, tmp_path: Path) -> None:
        text = OTHER_TASK.replace("[[rows]]", "imbalance = 100\n[[rows]]", 1)
        suite = make_suite(tmp_path, "ablation", text)
        write_run(tmp_path, make_record("ablation", "ce", 1, 39.0, extra=RECOVERED_ORDER))
        assert list(suite_tables(suite, tmp_path).frame["deviations"].dropna()) == []
        ours = make_suite(tmp_path, "ours", "".join(line for line in text.splitlines(True) if "paper_task" not in line))
        write_run(tmp_path, make_record("ours", "ce", 1, 39.0, extra=RECOVERED_ORDER))
        assert list(suite_tables(ours, tmp_path).frame["deviations"].dropna()) == [
            "other images than the published subset"
        ]
