"""What others need of a run beside its weights: images, backbone, neck, sizes of the head, preprocessing.

A second stage takes it from its first, and who loads a trained net has it from there. A run leaves it as data, in ``net.json``;
runs from before this file are read from the literal values of their ``config.py``. Neither is executed: a run's folder may come
from anywhere.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sar_cls.errors import InputError
from sar_cls.files import replacing, why
from sar_cls.mm.data_places import check_data
from sar_cls.mm.handover_checks import (
    SEGMENTORS,
    dataset_problem,
    masked_dataset_problem,
    net_problem,
    segmentor_problem,
)
from sar_cls.mm.head import CLASSIFIERS, FEATURE_LAYERS, PIXEL_CLASSIFIERS
from sar_cls.runs.folder import CONFIG, NET, again

FORMAT = 1
# Taken out wherever they stand: a second stage has its weights from last.pth and its cache from its own command line, so that
# nothing is loaded from, or written to, a place that a run's folder names.
_PLACES = {"pretrained", "weights", "checkpoint", "checkpoint_path", "cache_dir"}

# Entries of a decode head that only training needs.
_OF_TRAINING = ("regularizer", "loss_decode", "sampler")


@dataclass(frozen=True)
class Handover:
    """What a second stage takes over.

    Attributes:
        dataset: the config's ``train_dataloader.dataset``.
        backbone: the config's ``model.backbone``.
        neck: the config's ``model.neck``.
        num_classes: of the head.
        in_channels: of the head, D.
        data_preprocessor: the config's.
        bn_batch: images that batch norm goes over, where it is not the whole batch.
        classifier: the config's ``model.head.classifier``; None for a plain linear layer.
        feature_layer: the config's ``model.head.feature_layer``.
        image_size: (H, W) of the images it was trained on; None where that is not known.
        data_root: where its command line had the data on this machine; None for the default. See :func:`former_data_root`.
        segmentor: of a segmentation net, else None: ``type``, ``decode_head`` (one or a list) without what only training needs,
            and ``test_cfg``. Of its data set there is the name alone, ``in_channels`` are those in front of the classifier, and
            auxiliary heads stay behind.
    """

    dataset: dict[str, Any]
    backbone: dict[str, Any]
    neck: dict[str, Any] | None
    num_classes: int
    in_channels: int
    data_preprocessor: dict[str, Any]
    bn_batch: int | None = None
    classifier: dict[str, Any] | None = None
    image_size: list[int] | None = None
    data_root: str | None = None
    segmentor: dict[str, Any] | None = None
    feature_layer: str | None = None

    @property
    def library(self) -> str:
        """Whose nets it is one of, "mmpretrain" or "mmseg"."""
        return "mmpretrain" if self.segmentor is None else "mmseg"

    @property
    def stages(self) -> dict[str, int]:
        """``num_stages`` of a cascade, which mmseg wants beside the list of its heads; nothing for any other net."""
        heads = None if self.segmentor is None else self.segmentor["decode_head"]
        return {"num_stages": len(heads)} if isinstance(heads, list) else {}

    @classmethod
    def of(
        cls, config: Mapping[str, Any], image_size: tuple[int, int] | None = None, data_root: str | None = None
    ) -> Handover:
        """From a resolved config, or the values of one.

        Raises:
            KeyError, TypeError: something is missing.
        """
        model: Any = config["model"]
        dataset, segmentor = _plain(config["train_dataloader"]["dataset"]), None
        if model.get("decode_head") is None:
            head = model["head"]
        else:
            segmentor = _segmentor_of(model)
            heads = segmentor["decode_head"]
            head = heads[-1] if isinstance(heads, list) else heads
            head = {**head, "in_channels": head["channels"]}
            dataset = {key: value for key, value in dataset.items() if key == "data_root"} | {
                "name": data_name(dataset)
            }
        return cls(
            dataset=dataset,
            backbone=_plain(model["backbone"]),
            neck=_plain(model.get("neck")),
            num_classes=head["num_classes"],
            in_channels=head["in_channels"],
            data_preprocessor=_plain(config["data_preprocessor"]),
            bn_batch=config.get("bn_batch"),
            classifier=_plain(head.get("classifier")),
            image_size=None if image_size is None else list(image_size),
            data_root=None if data_root is None else str(Path(data_root).expanduser().absolute()),
            segmentor=segmentor,
            feature_layer=head.get("feature_layer"),
        )

    def write(self, folder: Path) -> None:
        """Writes ``<folder>/net.json``, whole or not at all."""
        with replacing(folder / NET) as temporary:
            rare = ("segmentor", "feature_layer")
            values = {key: value for key, value in asdict(self).items() if key not in rare or value is not None}
            text = json.dumps({"format": FORMAT, **values}, indent=1, default=str)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Handover:
        """Reads what the first stage in ``folder`` left, without running any of it.

        Raises:
            InputError: it is missing, damaged, or holds what a first stage of this project does not leave.
        """
        path = folder / NET
        try:
            try:
                found = cls(**_from_json(path))
            except FileNotFoundError:
                path = folder / CONFIG
                found = _from_config(path)
            found.check(path)
        except InputError:
            raise
        except OSError as error:
            raise InputError(why(error, path)) from error
        # Whatever else a damaged or planted text makes the parsers raise.
        except (ValueError, SyntaxError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
            raise InputError(f"{path} is damaged ({_brief(error)}): {again(path.parent)}") from error
        return found

    def check(self, path: Path) -> None:
        """Raises `InputError` where a value is not what a run leaves; ``path`` is where it is from."""
        problem = self._problem()
        if problem:
            raise InputError(f"{path} is not what a run leaves ({problem}): {again(path.parent)}")

    def _problem(self) -> str | None:
        """What keeps it from being used, in a few words; None where it is sound."""
        sizes = (self.num_classes, self.in_channels)
        if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes):
            return "num_classes and in_channels must be whole numbers of at least 1"
        if self.bn_batch is not None and not (isinstance(self.bn_batch, int) and self.bn_batch >= 2):
            return "bn_batch must be a whole number of at least 2"
        if self.image_size is not None and not (
            isinstance(self.image_size, list)
            and len(self.image_size) == 2
            and all(isinstance(side, int) and side >= 1 for side in self.image_size)
        ):
            return "image_size must be two whole numbers of at least 1"
        if not isinstance(self.data_root, (str, type(None))):
            return "data_root must be text"
        known = CLASSIFIERS if self.segmentor is None else PIXEL_CLASSIFIERS
        if self.classifier is not None and not (
            isinstance(self.classifier, dict)
            and self.classifier.get("type") in known
            and all(isinstance(value, (str, int, float, type(None))) for value in self.classifier.values())
        ):
            return f"the classifier must be one of {', '.join(known)}"
        if self.feature_layer not in (None, *FEATURE_LAYERS):
            return f"the feature_layer must be one of {', '.join(FEATURE_LAYERS)}"
        for name, part in (("backbone", self.backbone), ("data_preprocessor", self.data_preprocessor)):
            if not isinstance(part, dict):
                return f"the {name} is missing"
        if self.segmentor is not None:
            import sar_cls.mm.seg  # noqa: F401 (registers the parts, or says which extra they need)

            problem = segmentor_problem(self.segmentor)
            if problem:
                return problem
        for module in (self.backbone, self.neck, self.data_preprocessor):
            problem = None if module is None else net_problem(module, self.library)
            if problem:
                return problem
        return dataset_problem(self.dataset) if self.segmentor is None else masked_dataset_problem(self.dataset)


def data_name(dataset: Mapping[str, Any]) -> str:
    """The name of the data set of a config: its own, or that of mmseg's class, in small letters without "Dataset"."""
    name = dataset.get("name")
    return name if name is not None else re.sub(r"Dataset\d*$", "", str(dataset.get("type"))).lower()


def _segmentor_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of a segmentor is needed to build it for a second stage or for use."""
    heads = _plain(model["decode_head"])
    for head in heads if isinstance(heads, list) else [heads]:
        for name in _OF_TRAINING:
            head.pop(name, None)
    cascade = isinstance(heads, list)
    return {"type": SEGMENTORS[cascade], "decode_head": heads, "test_cfg": _plain(model.get("test_cfg") or {})}


def has_handover(folder: Path) -> bool:
    """Whether the run in ``folder`` left what a second stage is built from. A run that ``report.py --keep`` has copied did not."""
    return (folder / NET).exists() or (folder / CONFIG).exists()


def former_data_root(folder: Path, *, needed: bool = True, download: bool = False) -> str | None:
    """Where the run in ``folder`` had its data, if that is a folder here; None for the default place.

    None also where ``net.json`` is not sound: who reads all of it says what is wrong.

    A hint for a second stage that is given no place: the images there are compared with the first stage's as any others are.

    Args:
        folder: of the run.
        needed: whether the images will be read; None is given for a folder that is gone where they will not.
        download: whether a missing CIFAR would be fetched.

    Raises:
        InputError: that folder is not there, and the default place does not have the data either.
    """
    try:
        values = _from_json(folder / NET)
        found = values.get("data_root")
        if not isinstance(found, str):
            return None
        if Path(found).is_dir():
            return found
        if needed:
            check_data(values["dataset"], download=download)
    except InputError as error:
        raise InputError(f"{folder} had its images in {found}, which is not there: give --data-root") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError):
        pass
    return None


def _from_json(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise ValueError(f"no JSON object of format {FORMAT}")
    return {name: _plain(value) for name, value in values.items()}


def _from_config(path: Path) -> Handover:
    """From a ``config.py`` as mmengine dumps one: assignments of literals and ``dict(...)``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wanted = ("model", "train_dataloader", "data_preprocessor", "bn_batch")
    values = {
        target.id: _literal(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in wanted
    }
    return Handover.of(values)


def _literal(node: ast.expr) -> Any:
    """The value of a literal in which ``dict(key=value)`` may stand for ``{"key": value}``.

    Raises:
        ValueError: it is anything else, such as a call of another function.
    """
    if isinstance(node, ast.Call):
        if not (isinstance(node.func, ast.Name) and node.func.id == "dict") or node.args:
            raise ValueError(f"line {node.lineno} holds a call")
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError(f"line {node.lineno} is no literal")
        return {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        pairs = [(key, value) for key, value in zip(node.keys, node.values, strict=True) if key is not None]
        if len(pairs) < len(node.keys):
            raise ValueError(f"line {node.lineno} is no literal")
        return {_literal(key): _literal(value) for key, value in pairs}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(item) for item in node.elts]
    return ast.literal_eval(node)


def _plain(value: Any) -> Any:
    """``value`` as JSON knows it, without the entries that name a place to load from or to write to."""
    if isinstance(value, (dict, Config)):
        found = {str(key): _plain(item) for key, item in value.items() if key not in _PLACES}
        if isinstance(found.get("init_cfg"), dict) and found["init_cfg"].get("type") == "Pretrained":
            del found["init_cfg"]
        return found
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value if not (isinstance(item, dict) and item.get("type") == "Pretrained")]
    return value.__name__ if isinstance(value, type) else value  # a config may name a module by its class


def _brief(error: BaseException) -> str:
    """The first line of an error, or its kind where it has none."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
