"""The finished run that a second stage starts from: its weights, its net and its data."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from sar_cls.engine import dense
from sar_cls.engine.mislas import choose_settings
from sar_cls.engine.recipe import AnyResolved
from sar_cls.errors import InputError
from sar_cls.mm.handover import Handover, has_handover
from sar_cls.mm.head import is_protoseg
from sar_cls.mm.loaders import IMAGES, DataSplits
from sar_cls.mm.second_stage import hold_of
from sar_cls.runs import record
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import LAST

_FIRST_STAGE_ONLY = ("mixup_alpha", "num_classes", "views")


@dataclass(frozen=True)
class FirstStage:
    """The finished run that a second stage starts from.

    Attributes:
        folder: of the run.
        record: its record.
        handover: its net and its data.
        state_dict: the weights of its last epoch; empty before :meth:`loaded`.
    """

    folder: Path
    record: dict[str, Any]
    handover: Handover
    state_dict: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, name: str = "") -> FirstStage:
        """Reads all but the weights of the run in ``folder``.

        Args:
            folder: of the run.
            name: what to call it, if not by its folder.

        Raises:
            InputError: it is not finished, is a second stage itself, or what it left for a second one is not sound.
        """
        found = record.read_record(folder)
        if found["stage"] != 1:
            raise InputError(f"{name or folder} is a second stage itself: give the run of a first stage")
        if not has_handover(folder):
            raise InputError(
                f"{name or folder} is a kept run, without its net and weights, so that no second stage can start from it: leave "
                "such rows out by --only, or train the first stage again in another --work-dir"
            )
        return cls(folder, found, Handover.read(folder))

    def loaded(self, splits: DataSplits) -> FirstStage:
        """The same with its weights.

        Args:
            splits: the images that the second stage has.

        Raises:
            InputError: it had other training, validation or test images, or its checkpoint is missing or damaged.
        """
        had = self.record["data_fingerprint"]
        if had["train"] != splits.train.fingerprint:
            raise InputError(
                f"{self.folder} was trained on other images than the second stage would be: "
                "give the same --data-root and imbalance"
            )
        for name, fingerprint in splits.fingerprints.items():
            if had.get(name) != fingerprint:
                raise InputError(
                    f"{self.folder} had other {IMAGES[name]} than the second stage would have: give the same --data-root"
                )
        return replace(self, state_dict=read_checkpoint(self.folder / LAST)["state_dict"])


def like_first_stage(resolved: AnyResolved, first: FirstStage, hold: str | None = None) -> AnyResolved:
    """A second stage's config with the data and the net of its first stage, whatever suite that was from.

    Settings that are published for that data take the place of the config's own (:mod:`sar_cls.engine.mislas`); the override
    ``settings`` says so then, or that none are published. They do not take the place of the command line's.

    Args:
        resolved: of the second stage.
        first: its first stage.
        hold: how the command line has the backbone kept (``Options.hold``).

    Raises:
        InputError: one is of a classifier and the other of a segmentation net, or of segmentation nets the data differ.
    """
    config, before = copy.deepcopy(resolved.config), first.handover
    if resolved.is_dense != (before.segmentor is not None):
        kinds = "a classifier", "a segmentation net"
        raise InputError(
            f"{first.folder} is of {kinds[before.segmentor is not None]} and {resolved.source.title} is a second stage of "
            f"{kinds[resolved.is_dense]}: give another first stage"
        )
    if resolved.is_dense:
        return replace(resolved, config=_dense_config(resolved, config, first))
    own_dataset = config.train_dataloader.dataset
    config.train_dataloader.dataset = before.dataset
    config.model.backbone, config.model.neck = before.backbone, before.neck
    config.pop("weights", None)
    if before.bn_batch is not None:
        config.bn_batch = before.bn_batch
    config.model.head.num_classes = before.num_classes
    config.model.head.in_channels = before.in_channels
    if before.feature_layer is not None:
        config.model.head.feature_layer = before.feature_layer
    # All of the preprocessing but mixup and further views, which belong to the first stage.
    config.data_preprocessor = {
        key: value for key, value in before.data_preprocessor.items() if key not in _FIRST_STAGE_ONLY
    }
    inherited = {
        key: value
        for key, value in first.record["overrides"].items()
        if key in ("imbalance", "dataset", "size", "val_fraction")
    }
    settings = choose_settings(config, own_dataset)
    chosen = {} if settings is None else {"settings": settings}
    if hold is not None and hold_of(config.model) not in (None, hold):
        config.model.hold = chosen["hold"] = hold
    return replace(resolved, config=config, overrides={**inherited, **chosen, **resolved.overrides})


def _dense_config(resolved: AnyResolved, config: Config, first: FirstStage) -> Config:
    """The same for a segmentation net: all of the net but loss and calibration is the first stage's.

    The data are the config's own, since of mmseg's pipelines a run leaves only the name; fingerprints are compared later.
    """
    from sar_cls.mm.seg.heads import HEADS
    from sar_cls.mm.seg.second_stage import SECOND_STAGES

    before, own = first.handover, dense.heads_of(config)[-1]
    assert before.segmentor is not None
    if before.dataset["name"] != dense.data_name(config):
        raise InputError(
            f"{first.folder} was trained on {before.dataset['name']} and {resolved.source.title} takes "
            f"{dense.data_name(config)}: give another first stage"
        )
    heads = copy.deepcopy(before.segmentor["decode_head"])
    last = heads[-1] if isinstance(heads, list) else heads
    if is_protoseg(last.get("classifier")):
        raise InputError(
            f"{first.folder} classifies by prototypes, and {resolved.source.title} calibrates a linear classifier: give another "
            "first stage"
        )
    last |= {name: own[name] for name in ("classifier", "loss_decode") if own.get(name) is not None}
    if last["type"] not in HEADS:
        last["type"] = f"Regularized{last['type']}"  # mmseg's own head has no place for a calibration
    config.model = ConfigDict(
        type=SECOND_STAGES[before.segmentor["type"]],
        backbone=before.backbone,
        neck=before.neck,
        decode_head=heads,
        test_cfg=before.segmentor["test_cfg"],
        **before.stages,
    )
    config.data_preprocessor = ConfigDict(before.data_preprocessor)
    config.pop("weights", None)
    return config
