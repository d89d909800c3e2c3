"""What is said of a single class: the accuracy of a classifier, counted in images, or the IoU of a segmentation net, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

from sar_cls.suites.rows import Suite


@dataclass(frozen=True)
class ClassMetric:
    """The words for a class's figure.

    Attributes:
        name: of the figure, as within a sentence.
        unit: what is counted of a class, in the singular.
    """

    name: str
    unit: str

    @property
    def heading(self) -> str:
        """The name as at the beginning of a sentence."""
        return self.name[0].upper() + self.name[1:]


ACCURACY = ClassMetric("accuracy", "image")
IOU = ClassMetric("IoU", "pixel")


def class_metric(suite: Suite) -> ClassMetric:
    """What a suite's runs keep of each class."""
    return IOU if is_dense(suite) else ACCURACY


def is_dense(suite: Suite) -> bool:
    """Whether a suite's rows are segmentation nets."""
    return suite.metric == "miou"
