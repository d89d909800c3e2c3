"""The finished run that a second stage starts from: its weights, its net and its data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sar_cls.engine.mislas import choose_settings
from sar_cls.engine.recipe import Resolved
from sar_cls.errors import InputError
from sar_cls.mm.handover import Handover
from sar_cls.mm.loaders import IMAGES, DataSplits
from sar_cls.runs import record
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import LAST

_MIXUP = ("mixup_alpha", "num_classes")


@dataclass(frozen=True)
class FirstStage:
    """The finished run that a second stage starts from: its record and the weights of its last epoch."""

    record: dict[str, Any]
    state_dict: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, splits: DataSplits) -> FirstStage:
        """Reads the run in ``folder``.

        Raises:
            InputError: it is not finished, damaged, a second stage itself, or had other training, validation or test images.
        """
        found = record.read_record(folder)
        if found["stage"] != 1:
            raise InputError(f"{folder} is a second stage itself: give the run of a first stage")
        if found["data_fingerprint"]["train"] != splits.train.fingerprint:
            raise InputError(
                f"{folder} was trained on other images than the second stage would be: give the same --data-root and imbalance"
            )
        for name, fingerprint in splits.fingerprints.items():
            if found["data_fingerprint"].get(name) != fingerprint:
                raise InputError(
                    f"{folder} had other {IMAGES[name]} than the second stage would have: give the same --data-root"
                )
        return cls(found, read_checkpoint(folder / LAST)["state_dict"])


def like_first_stage(resolved: Resolved, folder: Path) -> Resolved:
    """A second stage's config with the data and the net of its first stage, whatever suite that was from.

    Settings that are published for that data take the place of the config's own (:mod:`sar_cls.engine.mislas`); the override
    ``settings`` says so then, or that none are published.

    Raises:
        InputError: there is no finished first stage in ``folder``, or what it left for a second one is not sound.
    """
    first, config = record.read_record(folder), resolved.config
    before = Handover.read(folder)
    own_dataset = config.train_dataloader.dataset
    config.train_dataloader.dataset = before.dataset
    config.model.backbone, config.model.neck = before.backbone, before.neck
    config.pop("weights", None)
    if before.bn_batch is not None:
        config.bn_batch = before.bn_batch
    config.model.head.num_classes = before.num_classes
    config.model.head.in_channels = before.in_channels
    # All of the preprocessing but mixup, which belongs to the first stage.
    config.data_preprocessor = {key: value for key, value in before.data_preprocessor.items() if key not in _MIXUP}
    inherited = {
        key: value
        for key, value in first["overrides"].items()
        if key in ("imbalance", "dataset", "size", "val_fraction")
    }
    settings = choose_settings(config, own_dataset)
    chosen = {} if settings is None else {"settings": settings}
    return replace(resolved, overrides={**inherited, **chosen, **resolved.overrides})
