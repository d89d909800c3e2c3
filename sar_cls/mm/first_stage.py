"""The finished run that a second stage starts from: its weights, its net and its data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.mm.checkpoint import LAST, read_checkpoint
from sar_cls.mm.config import load_config
from sar_cls.mm.loaders import DataSplits
from sar_cls.mm.mislas import choose_settings
from sar_cls.mm.recipe import Resolved
from sar_cls.reporting import record

CONFIG = "config.py"
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
            InputError: it is not finished, damaged, a second stage itself, or was trained on other images.
        """
        found = record.read_record(folder)
        if found["stage"] != 1:
            raise InputError(f"{folder} is a second stage itself: give the run of a first stage")
        if found["data_fingerprint"]["train"] != splits.train.fingerprint:
            raise InputError(
                f"{folder} was trained on other images than the second stage would be: give the same --data-root and imbalance"
            )
        return cls(found, read_checkpoint(folder / LAST)["state_dict"])


def like_first_stage(resolved: Resolved, folder: Path) -> Resolved:
    """A second stage's config with the data and the net of its first stage, whatever suite that was from.

    Settings that are published for that data take the place of the config's own (:mod:`sar_cls.mm.mislas`); the override
    ``settings`` says so then, or that none are published.

    Raises:
        InputError: there is no finished first stage in ``folder``.
    """
    first, config = record.read_record(folder), resolved.config
    before = load_config(folder / CONFIG)
    own_dataset = config.train_dataloader.dataset
    config.train_dataloader.dataset = before.train_dataloader.dataset
    config.model.backbone, config.model.neck = before.model.backbone, before.model.get("neck")
    config.pop("weights", None)
    config.model.head.num_classes = before.model.head.num_classes
    config.model.head.in_channels = before.model.head.in_channels
    # All of the preprocessing but mixup, which belongs to the first stage.
    config.data_preprocessor = {key: value for key, value in before.data_preprocessor.items() if key not in _MIXUP}
    inherited = {
        key: value for key, value in first["overrides"].items() if key in ("imbalance", "dataset", "val_fraction")
    }
    settings = choose_settings(config, own_dataset)
    chosen = {} if settings is None else {"settings": settings}
    return replace(resolved, overrides={**inherited, **chosen, **resolved.overrides})
