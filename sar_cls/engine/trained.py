"""A trained net with its preprocessing, as a module that takes uint8 images; nothing of training comes along."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.mm.handover import Handover
from sar_cls.mm.second_stage import TRAINING_ONLY
from sar_cls.runs.checkpoint import read_checkpoint
from sar_cls.runs.dense_outputs import read_dense_outputs
from sar_cls.runs.folder import BEST, LAST
from sar_cls.runs.outputs import read_outputs

_MIXUP = ("mixup_alpha", "num_classes")
_METADATA = "sar_cls"


class TrainedNet(nn.Module):
    """Preprocessing and net of a finished run, in evaluation mode.

    Attributes:
        net: what the run trained, without its regularizer.
        handover: what it was built from.
        classes: names of the classes; class ``c`` is ``classes[c]``. Numbers as text where a run kept no names.
        image_size: (H, W) of the images that it was trained on; None where an old run did not keep it.
    """

    def __init__(self, net: nn.Module, handover: Handover, classes: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.net = net
        self.handover = handover
        self.classes = classes or tuple(str(number) for number in range(handover.num_classes))
        size = handover.image_size
        self.image_size: tuple[int, int] | None = None if size is None else (size[0], size[1])
        self.eval()

    def _check(self, images: Tensor) -> None:
        """Refuses what preprocessing would take for something else, such as values from 0 to 1.

        Raises:
            ValueError: no uint8 images [N, H, W, 3].
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(
                f"the model takes uint8 images [N, H, W, 3] with values from 0 to 255, and got {images.dtype} {list(images.shape)}"
            )


class TrainedModel(TrainedNet):
    """Preprocessing, backbone and classifier of a finished run, in evaluation mode; attributes as of :class:`TrainedNet`."""

    def forward(self, images: Tensor) -> Tensor:
        """uint8 images [N, H, W, 3] (RGB) -> float32 logits [N, C].

        The images are normalised and, where the recipe says so, cropped in the middle, as in the run's own evaluation. They
        are not resized: give them in the size of the training images.

        Raises:
            ValueError: no such images.
        """
        self._check(images)
        inputs = self.net.data_preprocessor({"inputs": images, "targets": None}, False)["inputs"]  # type: ignore[operator]
        return self.net(inputs, mode="tensor").float()

    @torch.inference_mode()
    def classify(self, images: Tensor) -> tuple[list[str], Tensor]:
        """Names of the likeliest classes of uint8 images [N, H, W, 3], and their softmax probabilities [N]."""
        probabilities, labels = self(images).softmax(dim=1).max(dim=1)
        return [self.classes[label] for label in labels.tolist()], probabilities


class TrainedSegmentor(TrainedNet):
    """Preprocessing, backbone and decode head of a finished run, in evaluation mode; attributes as of :class:`TrainedNet`."""

    def forward(self, images: Tensor) -> Tensor:
        """uint8 images [N, H, W, 3] (RGB) -> float32 logits [N, C, H, W].

        As in the run's own evaluation, whole or in windows. mmseg's pipelines resize images before; that is left to who calls.

        Raises:
            ValueError: no such images.
        """
        self._check(images)
        net: Any = self.net
        preprocessor = net.data_preprocessor
        if hasattr(preprocessor, "draw"):
            inputs = preprocessor({"inputs": images, "targets": None}, False)["inputs"]
        else:  # mmseg's own, which would take a list of images in the order blue, green, red and turn it round
            how = self.handover.data_preprocessor
            is_rgb = how.get("bgr_to_rgb") or how.get("rgb_to_bgr")
            channels_last = images if is_rgb else images.flip(3)
            inputs = channels_last.permute(0, 3, 1, 2).float()
            inputs = (inputs - preprocessor.mean) / preprocessor.std
        shape = tuple(inputs.shape[2:])
        about = dict(ori_shape=shape, img_shape=shape, pad_shape=shape, padding_size=[0, 0, 0, 0])
        return net.inference(inputs, [about]).float()

    @torch.inference_mode()
    def segment(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Likeliest class of every pixel of uint8 images [N, H, W, 3], int64 [N, H, W], and its softmax probability [N, H, W]."""
        probabilities, labels = self(images).softmax(dim=1).max(dim=1)
        return labels, probabilities


def load_model(
    path: Path | str, *, epoch: str | None = None, device: torch.device | str = "cpu"
) -> TrainedModel | TrainedSegmentor:
    """Loads the net of a finished or unfinished run. No code of the run's folder is executed.

    Args:
        path: the run's folder, its ``last.pth`` or ``best.pth``, or a ``.safetensors`` file of ``sar-cls export``.
        epoch: ``"last"`` (the default) or ``"best"``, for a folder.
        device: where the model goes.

    Returns:
        The net in evaluation mode; ``model(images)`` takes uint8 [N, H, W, 3] and gives logits [N, C], of a segmentation net
        [N, C, H, W].

    Raises:
        InputError: nothing there, damaged, of another kind, or a run without a net of its own (a closed-form second stage).

    Example:
        >>> model = sar_cls.load_model("work_dirs/digits/sar/seed1024")
        >>> names, probabilities = model.classify(images)
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _from_safetensors(path).to(device)
    if epoch not in (None, "last", "best"):
        raise InputError(f"epoch is {epoch!r}: choose last or best")
    if path.is_dir():
        file = path / (BEST if epoch == "best" else LAST)
    elif path.name in (LAST, BEST):
        if epoch is not None:
            raise InputError(f"{path} is of one epoch: leave epoch out, or give the folder")
        file = path
    else:
        raise InputError(f"{path} is no run: give the folder of a run, its {LAST} or {BEST}, or a .safetensors file")
    folder = file.parent
    if not file.is_file():
        raise InputError(f"{folder} has no {file.name}: give a run that has trained for at least one epoch")
    state = read_checkpoint(file)["state_dict"]
    handover = Handover.read(folder)
    try:
        names = (read_outputs(folder) if handover.segmentor is None else read_dense_outputs(folder)).classes
    except InputError:  # an unfinished run has no outputs yet, a kept one none any more
        names = None
    classes = None if names is None else tuple(str(name) for name in names)
    return _build(handover, state, str(file), classes).to(device)


def save_safetensors(model: TrainedNet, path: Path) -> None:
    """Writes the weights, and what :func:`load_model` builds the net from, into one file.

    Raises:
        InputError: the package safetensors is not installed.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise InputError("safetensors is not installed: pip install 'sar-cls[export]'") from error
    handover = replace(model.handover, data_root=None)  # of no use elsewhere
    about = {"handover": asdict(handover), "classes": list(model.classes)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.net.state_dict().items()}
    save_file(tensors, path, metadata={_METADATA: json.dumps(about)})


def save_torch_export(model: TrainedNet, path: Path, image_size: tuple[int, int]) -> None:
    """Writes a program for ``torch.export.load``: uint8 [N, H, W, 3] -> float32 [N, C] or [N, C, H, W], any N."""
    program = torch.export.export(model, (_example(image_size),), dynamic_shapes=_any_batch())
    with path.open("wb") as file:
        torch.export.save(program, file)


def save_onnx(model: TrainedNet, path: Path, image_size: tuple[int, int]) -> None:
    """Writes an ONNX graph: input ``images`` uint8 [N, H, W, 3], output ``logits`` float32 [N, C] or [N, C, H, W], any N.

    Raises:
        InputError: the packages that torch's exporter needs are not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'sar-cls[export]'") from error
    program = torch.onnx.export(
        model,
        (_example(image_size),),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=_any_batch(),
        verbose=False,
    )
    assert program is not None
    onnx.save(program.model_proto, str(path))


def _example(image_size: tuple[int, int]) -> Tensor:
    # Two images: one would let the exporter take the batch for fixed.
    return torch.zeros(2, *image_size, 3, dtype=torch.uint8)


def _any_batch() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("batch", min=1)},)


def _from_safetensors(path: Path) -> TrainedModel | TrainedSegmentor:
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise InputError("safetensors is not installed: pip install 'sar-cls[export]'") from error
    if not path.is_file():
        raise InputError(f"there is no file {path}: give what sar-cls export wrote")
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads(file.metadata()[_METADATA])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
        handover, classes = Handover(**about["handover"]), tuple(str(name) for name in about["classes"])
    except Exception as error:  # the reader is written in Rust and has errors of its own
        raise InputError(f"{path} is damaged or was not written by sar-cls export ({type(error).__name__})") from error
    handover.check(path)
    return _build(handover, state, str(path), classes)


def _build(
    handover: Handover, state: dict[str, Tensor], source: str, classes: tuple[str, ...] | None
) -> TrainedModel | TrainedSegmentor:
    preprocessor = {key: value for key, value in handover.data_preprocessor.items() if key not in _MIXUP}
    config: dict[str, Any] = dict(backbone=handover.backbone, neck=handover.neck, data_preprocessor=preprocessor)
    if handover.segmentor is None:
        head: dict[str, Any] = dict(
            type="RegularizedLinearClsHead",
            num_classes=handover.num_classes,
            in_channels=handover.in_channels,
            classifier=handover.classifier,
            feature_layer=handover.feature_layer,
        )
        config |= dict(type="ImageClassifier", head=head)
    else:
        config |= handover.segmentor | handover.stages
    with DefaultScope.overwrite_default_scope(handover.library):
        net = MODELS.build(ConfigDict(config))
    weights = {name: value for name, value in state.items() if not TRAINING_ONLY.match(name)}
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"{source} does not fit the net that its run describes ({first})") from error
    if classes is not None and len(classes) != handover.num_classes:
        raise InputError(f"{source} has {handover.num_classes} classes and {len(classes)} names of classes")
    kind = TrainedModel if handover.segmentor is None else TrainedSegmentor
    return kind(net, handover, classes)
