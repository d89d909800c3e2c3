"""The published figures, typed a second time from the paper."""

from __future__ import annotations

import pytest

from sar_cls.reporting.paper import disagreeing, figures, find, find_of_other_task


@pytest.mark.parametrize(
    ("dataset", "row", "stage", "value"),
    [
        ("CIFAR-100", "ResNet-18", 1, 78.07),
        ("CIFAR-100", "ResNet-18+SAR", 1, 78.78),
        ("CIFAR-100", "ResNet-50", 1, 79.90),
        ("CIFAR-100", "ResNet-50+SAR", 1, 80.47),
        ("CUB-200", "ResNet-18", 1, 83.10),
        ("CUB-200", "ResNet-18+SAR", 1, 84.16),
        ("CUB-200", "ResNet-50", 1, 88.19),
        ("CUB-200", "ResNet-50+SAR", 1, 88.44),
        ("CIFAR-100-LT IF=100", "MixUp", 1, 39.5),
        ("CIFAR-100-LT IF=100", "MixUp+CAR", 1, 38.0),
        ("CIFAR-100-LT IF=100", "MixUp+SAR", 1, 40.6),
        ("CIFAR-100-LT IF=100", "MixUp", 2, 47.0),
        ("CIFAR-100-LT IF=100", "MixUp+CAR", 2, 45.3),
        ("CIFAR-100-LT IF=100", "MixUp+SAR", 2, 48.0),
        ("CIFAR-100-LT IF=50", "MixUp", 1, 45.4),
        ("CIFAR-100-LT IF=50", "MixUp", 2, 52.3),
        ("CIFAR-100-LT IF=10", "MixUp", 1, 59.1),
        ("CIFAR-100-LT IF=10", "MixUp", 2, 63.2),
    ],
)
def test_accuracies(dataset: str, row: str, stage: int, value: float) -> None:
    figure = find(dataset, row, "top1", stage)
    assert figure is not None
    assert figure.value == value


def test_calibration_and_mmpretrain() -> None:
    stage1, stage2 = (find("CIFAR-100-LT IF=100", "MixUp", "ece", stage) for stage in (1, 2))
    assert stage1 is not None
    assert stage2 is not None
    assert (stage1.source, stage1.value, stage2.value) == ("MiSLAS", 8.82, 4.83)
    zoo = {figure.row: figure.value for figure in figures() if figure.source == "mmpretrain"}
    assert zoo == {"resnet50_8xb16_cifar100": 79.90, "resnet50_8xb8_cub": 88.45}


def test_every_table_from_1_to_20_is_there_with_its_number_of_figures() -> None:
    counts: dict[str, int] = {}
    for figure in figures():
        if figure.source == "SAR":
            counts[figure.table] = counts.get(figure.table, 0) + 1
    expected = {"1": 12, "2": 12, "3": 16, "4": 8, "5": 8, "6": 9}
    expected |= {"7": 7, "8": 4, "9": 4, "10": 6, "11": 24, "12": 6, "13": 3, "14": 6, "15": 6}
    expected |= {"16": 3, "17": 3, "18": 4, "19": 4, "20": 4}
    assert counts == expected


def test_where_the_paper_gives_a_row_two_figures_the_main_table_counts_and_the_other_is_known() -> None:
    found = find("ADE20K", "HRNet+SAR", "miou")
    assert found is not None
    assert (found.table, found.value) == ("2", 42.8)
    assert [(other.table, other.value) for other in disagreeing(found)] == [("3", 42.7)]
    two_of_a_row = {f.row for f in figures() if f.stage == 1 and f.metric in ("top1", "miou") and disagreeing(f)}
    assert two_of_a_row == {"HRNet+SAR"}


def test_figures_stand_once_and_ranges_go_up() -> None:
    keys = [(f.source, f.table, f.dataset, f.row, f.stage, f.metric) for f in figures()]
    assert len(keys) == len(set(keys))
    ranges = [figure for figure in figures() if figure.value_max is not None]
    assert len(ranges) == 3
    assert all(figure.value < figure.value_max for figure in ranges if figure.value_max is not None)


def test_unknown_rows_have_no_figure() -> None:
    assert find("CIFAR-100", "ResNet-101", "top1") is None
    assert find(None, None, "top1") is None


def test_figures_of_another_task_are_found_whatever_their_metric_and_those_of_ours_are_not_mixed_in() -> None:
    found = find_of_other_task("Cityscapes", "tau=0.7")
    assert found is not None
    assert (found.table, found.metric, str(found)) == ("18", "miou", "81.20")
    assert str(find_of_other_task("Cityscapes", "CE+p2a OM")) == "79.20 to 79.90"
    assert str(find_of_other_task("Cityscapes", "HRNet")) == "79.90"  # parameters and FLOPs are no accuracy
    assert find_of_other_task("Cityscapes", "tau=0.71") is None
    assert find_of_other_task(None, None) is None
