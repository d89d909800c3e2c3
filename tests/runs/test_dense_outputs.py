"""What a segmentation run keeps of its test set: written, read back, and refused where it is damaged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sar_cls.errors import InputError
from sar_cls.runs.dense_outputs import EXAMPLES, Evaluated, read_dense_outputs, write_dense_outputs
from sar_cls.runs.folder import SEGMENTATION_FILE
from sar_cls.runs.per_class import class_names, last_accuracies, write_dense_per_class

C, N, SIZE = 4, 9, (5, 6)


def made(with_predictions: bool = True) -> tuple[dict[str, Evaluated], SimpleNamespace]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, C - 1, (N, *SIZE)).astype(np.uint8)  # the last class is not in the test set
    labels[:, 0] = 255
    found = {}
    for epoch in ("last", "best"):
        predictions = rng.integers(0, C, (N, *SIZE)).astype(np.uint8)
        confusion = np.zeros((C, C), dtype=np.int64)
        for true, said in zip(labels.ravel(), predictions.ravel(), strict=True):
            if true != 255:
                confusion[true, said] += 1
        found[epoch] = Evaluated(confusion, predictions if with_predictions else None)
    images = torch.from_numpy(rng.integers(0, 256, (N, *SIZE, 3)).astype(np.uint8))
    return found, SimpleNamespace(classes=tuple("abcd"), labels=torch.from_numpy(labels), images=images)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found, test = made()
    write_dense_outputs(tmp_path, found, test)
    outputs = read_dense_outputs(tmp_path)
    for epoch in ("last", "best"):
        assert np.array_equal(getattr(outputs, epoch).predictions, found[epoch].predictions)
        assert np.array_equal(getattr(outputs, epoch).confusion, found[epoch].confusion)
    assert outputs.images is not None
    assert outputs.examples is not None
    assert len(outputs.examples) == EXAMPLES
    assert np.array_equal(outputs.images, test.images.numpy()[outputs.examples])
    assert outputs.classes.tolist() == list("abcd")


def test_without_predictions_there_is_the_confusion_alone(tmp_path: Path) -> None:
    found, test = made(with_predictions=False)
    write_dense_outputs(tmp_path, found, test)
    outputs = read_dense_outputs(tmp_path)
    assert outputs.labels is None
    assert outputs.last.predictions is None


def test_examples_show_the_rare_classes(tmp_path: Path) -> None:
    found, test = made()
    test.labels[:] = 0
    test.labels[7, 1, 1], test.labels[2, 1, :3] = 1, 2
    write_dense_outputs(tmp_path, found, test)
    examples = read_dense_outputs(tmp_path).examples
    assert examples is not None
    assert 7 in examples  # with the only pixel of the rarest class


@pytest.mark.parametrize("fault", ["missing", "half", "confusion", "predictions", "examples"])
def test_damaged_files_are_refused(tmp_path: Path, fault: str) -> None:
    found, test = made()
    write_dense_outputs(tmp_path, found, test)
    file = tmp_path / SEGMENTATION_FILE
    with np.load(file) as arrays:
        kept = dict(arrays)
    if fault == "missing":
        file.unlink()
    elif fault == "half":
        file.write_bytes(file.read_bytes()[:200])
    else:
        change = {
            "confusion": {"confusion_last": kept["confusion_last"][:2]},
            "predictions": {"predictions_best": kept["predictions_best"] + np.uint8(100)},
            "examples": {"examples": kept["examples"] + N},
        }[fault]
        with file.open("wb") as stream:
            np.savez(stream, **{**kept, **change})
    with pytest.raises(InputError, match="missing" if fault == "missing" else "is damaged"):
        read_dense_outputs(tmp_path)


def test_per_class_has_recall_and_iou(tmp_path: Path) -> None:
    found, test = made()
    write_dense_per_class(tmp_path, [5, 4, 3, 2], test.classes, found)
    lines = [line.split(",") for line in (tmp_path / "per_class.csv").read_text().splitlines()]
    true, said = test.labels.numpy().ravel(), found["last"].predictions.ravel()
    for label in range(3):
        both = int(((true == label) & (said == label)).sum())
        either = int(((true == label) | ((said == label) & (true != 255))).sum())
        assert float(lines[1 + label][3]) == pytest.approx(100 * both / int((true == label).sum()), abs=1e-3)
        assert float(lines[1 + label][5]) == pytest.approx(100 * both / either, abs=1e-3)
    assert lines[4][3:] == ["", "", "", ""]  # not in the test set
    assert class_names(tmp_path) == list("abcd")
    assert last_accuracies(tmp_path)[:3].tolist() == [float(line[5]) for line in lines[1:4]]
    assert np.isnan(last_accuracies(tmp_path)[3])
