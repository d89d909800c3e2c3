"""The features of runs that were finished without them, made anew from their last checkpoint.

Nothing is taken on trust: the images must be those of the record, and the net that is built from the run's files must decide on
every test image as the run's saved outputs do. Only then is ``features.npz`` written, and the geometry added to the record; all
else in the run's folder stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from sar_cls.engine.features import anchors_in, keep_features, net_features
from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache
from sar_cls.engine.trained import load_model
from sar_cls.errors import InputError, RunLocked
from sar_cls.memory import allocating
from sar_cls.mm.handover import former_data_root
from sar_cls.mm.loaders import IMAGES, DataSplits, test_loader
from sar_cls.mm.loops import predict_with_features
from sar_cls.runs import folder, record
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.folder import LAST
from sar_cls.runs.geometry import ENTRY
from sar_cls.runs.outputs import TestOutputs, read_outputs
from sar_cls.steps.precision import exact_float32

BATCH = 100
# What another batch size, thread number or device moves a logit by, relative to the largest one.
_ROUNDING = {"fp32": 1e-4, "bf16": 0.05}
_HALF_ROUNDING = 1e-3  # of outputs that an older version saved in float16


def make_features(
    run_dir: Path, *, data_root: str | None = None, device: str = "cpu", cache: DataCache | None = None
) -> dict[str, Any]:
    """Writes the features of a finished run and adds its geometry to its record.

    Args:
        run_dir: folder of the run.
        data_root: folder of the data sets; None for the one that the run had, where that is still there.
        device: where the images are evaluated.
        cache: the images of the last run, so that those of many runs are read once.

    Returns:
        The record with its geometry.

    Raises:
        InputError: the run is not finished, has no checkpoint of its own, other images are there than it had, or the net does
            not decide as its saved outputs do. Nothing was written.
        RunLocked: a process is at the run.
    """
    found = record.read_record(run_dir)
    if not found["epochs"]:
        raise InputError(
            f"{run_dir} corrects its first stage and has no net of its own: make the features of {found['stage1']['run']} of "
            f"{found['stage1']['suite']}/{found['stage1']['row']}, or {folder.again(run_dir)}"
        )
    if (run_dir / folder.SEGMENTATION_FILE).is_file():
        raise InputError(
            f"{run_dir} is of a segmentation net, and features are kept of classifiers alone: leave it out"
        )
    outputs = read_outputs(run_dir)
    exact_float32()
    with allocating("building the network", "use another --device"):
        model = load_model(run_dir, epoch="last", device=device)
    options = Options(
        data_root=data_root or former_data_root(run_dir), val_fraction=found["overrides"].get("val_fraction")
    )
    with allocating("reading the images", "use fewer or smaller ones"):
        splits = (cache or DataCache()).get(model.handover.dataset, options)
    _check_images(run_dir, found, splits)
    net: Any = model.net
    contiguous = found["extra"].get("memory_format") == "contiguous"
    net.data_preprocessor.memory_format = "contiguous" if contiguous else "channels_last"
    net.to(memory_format=torch.contiguous_format if contiguous else torch.channels_last)
    place, precision = torch.device(device), found["precision"]
    with allocating("evaluating the images", "use another --device"):
        test = test_loader(splits.test, {"batch_size": BATCH}, place)
        logits, features = predict_with_features(net, test, precision)
        _check_decisions(run_dir, outputs, logits.cpu().numpy(), precision)
        train = test_loader(splits.train, {"batch_size": BATCH}, place)
        state = read_checkpoint(run_dir / LAST)["state_dict"]
        kept = net_features(net, features, train, precision, anchors_in(state))
    try:
        lock = folder.lock(run_dir)
    except filelock.Timeout:
        raise RunLocked(f"{run_dir}: another process is at this run, passed over") from None
    with lock:
        about = keep_features(
            run_dir, found["run_id"], kept, torch.from_numpy(outputs.logits), splits.test.labels, splits.train.labels
        )
        record.write_record(run_dir, {**found, "extra": {**found["extra"], **about}})
    return record.read_record(run_dir)


def has_features(found: Mapping[str, Any], run_dir: Path) -> bool:
    """Whether there is nothing to make: the file is there and its geometry in the record."""
    return ENTRY in found["extra"] and (run_dir / folder.FEATURES_FILE).is_file()


def _check_images(run_dir: Path, found: Mapping[str, Any], splits: DataSplits) -> None:
    others = [
        IMAGES[name] for name, value in splits.fingerprints.items() if found["data_fingerprint"].get(name) != value
    ]
    if others:
        raise InputError(
            f"{run_dir} had other {' and '.join(others)} than those that are there now: give the --data-root it had"
        )


def _check_decisions(run_dir: Path, outputs: TestOutputs, logits: np.ndarray, precision: str) -> None:
    """Compares the decisions on the test images; where two logits are equal but for rounding either decision is the same one."""
    if logits.shape != outputs.logits.shape:
        raise InputError(
            f"{run_dir}: its net gives {list(logits.shape)} test logits and its saved ones are {list(outputs.logits.shape)}: "
            f"the files of two runs are mixed, {folder.again(run_dir)}"
        )
    saved = outputs.logits.astype(np.float64)
    ours, theirs, rows = logits.argmax(axis=1), saved.argmax(axis=1), np.arange(len(saved))
    rounding = max(_ROUNDING.get(precision, 0.05), _HALF_ROUNDING if outputs.rounded else 0.0)
    gap = saved[rows, theirs] - saved[rows, ours]
    others = int((gap > rounding * np.abs(saved).max()).sum())
    if others:
        raise InputError(
            f"{run_dir}: the net of {LAST} decides otherwise than the saved test outputs on {others} of {len(saved)} images: "
            f"they are not of one run, so no features are made; {folder.again(run_dir)}"
        )
