"""The settings of MiSLAS's second stage, which its published program chooses by data set and imbalance factor.

Source: the configuration files of stage 2 in the published code of Zhong et al., "Improving Calibration for Long-Tailed
Recognition" (MiSLAS), CVPR 2021, https://github.com/dvlab-research/MiSLAS: ``smooth_head``, ``smooth_tail``, ``lr_factor`` and
``shift_bn``, one file for each data set and factor. What does not differ between them (learning rate 0.1, weight decay 2e-4,
batch 128, 10 epochs) stands in the config itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmengine.config import Config

METHOD = "mislas"
# What a record says of settings that were taken from the table below, for its data set and factor.
PUBLISHED = "published"


@dataclass(frozen=True)
class Stage2:
    """What differs between the published second stages.

    Attributes:
        smooth_head: label smoothing of the largest class.
        smooth_tail: label smoothing of the smallest class.
        classifier_lr: learning rate of the linear classifier as a share of the scaling vector's.
        shifted_bn: whether the backbone stays in training mode, so that the statistics of its batch norms move. Without
            (``shift_bn: False``) it is in evaluation mode in stage 2: nothing of it moves.
    """

    smooth_head: float
    smooth_tail: float
    classifier_lr: float
    shifted_bn: bool


STAGE2: dict[tuple[str, float], Stage2] = {
    ("cifar100", 100.0): Stage2(0.4, 0.1, 0.2, True),
    ("cifar100", 50.0): Stage2(0.3, 0.0, 0.1, True),
    ("cifar100", 10.0): Stage2(0.2, 0.0, 0.1, True),
    ("cifar10", 100.0): Stage2(0.3, 0.0, 0.5, False),
    ("cifar10", 50.0): Stage2(0.2, 0.0, 0.2, False),
    ("cifar10", 10.0): Stage2(0.1, 0.0, 0.2, False),
}
"""(data set, imbalance factor) -> settings. Long tails are exponential."""


def choose_settings(config: Config, own_dataset: Config) -> str | None:
    """Puts the settings that are published for the config's data into it, in place.

    Does nothing for a config without ``settings_by_data = "mislas"``, and for the data that the config was written for: its
    own values stand there.

    Args:
        config: of a second stage, with the data set of its first.
        own_dataset: the ``train_dataloader.dataset`` that the config itself has.

    Returns:
        None where the config's own settings are the right ones; ``"published"`` where others were taken; else, where none are
        published for this data, whose settings are used: they are a choice of this project.
    """
    dataset = config.train_dataloader.dataset
    if config.get("settings_by_data") != METHOD or _key(dataset) == _key(own_dataset):
        return None
    settings = STAGE2.get(_key(dataset)) if _profile(dataset) == "exponential" else None
    if settings is None:
        name, factor = _key(own_dataset)
        return f"settings of {name}, imbalance {factor:g}"
    config.model.hold = "shifted_bn" if settings.shifted_bn else "frozen"
    config.model.head.loss.update(smooth_head=settings.smooth_head, smooth_tail=settings.smooth_tail)
    for rule in config.optim_wrapper.paramwise_cfg.custom_keys.values():
        rule.lr_mult = settings.classifier_lr
    return PUBLISHED


def _key(dataset: Config) -> tuple[str, float]:
    """Data set and imbalance factor; 1 for one that is not long-tailed."""
    longtail = dataset.get("longtail")
    return dataset.name, float(longtail["imbalance_factor"]) if longtail else 1.0


def _profile(dataset: Config) -> str | None:
    longtail = dataset.get("longtail")
    return longtail.get("profile", "exponential") if longtail else None
