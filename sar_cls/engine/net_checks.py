"""What a run needs of its net and its weights, asked before images are decoded or a first stage is trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import nn

from sar_cls.engine.feature_maps import check_feature_maps
from sar_cls.engine.recipe import Resolved
from sar_cls.errors import InputError
from sar_cls.mm.head import apart_from_the_model
from sar_cls.mm.second_stage import hold_of
from sar_cls.models import use_virtual_batches
from sar_cls.models.library_backbones import build_backbone, look_up_backbone
from sar_cls.models.shifted_bn import has_batch_norm
from sar_cls.weights import load_weights, look_up_weights


def check_net(resolved: Resolved) -> None:
    """Whether the net of a first stage can have what its config says.

    Raises:
        InputError: there are no weights where the config or the command line says, or they are of another net; there is
            no batch norm for virtual batches; the heads of a segmentation net take other feature maps than its backbone gives;
            mmpretrain has no backbone of the depth or kind that is asked for, or timm or torchvision none of the name.
    """
    config, backbone = resolved.config, _backbone_of_mmpretrain(resolved)
    if "backbone" in resolved.overrides:
        look_up_backbone(resolved.overrides["backbone"])
    if resolved.is_dense:
        backbone, _ = first_backbone(resolved)
        check_feature_maps(config, resolved.source, backbone)
    if config.get("bn_batch") is not None:
        backbone = backbone or first_backbone(resolved)[0]
        use_virtual_batches(backbone, config.bn_batch)
    if config.get("weights") is not None:
        if "backbone" in resolved.overrides:  # its size can follow from the images, and with it what fits
            look_up_weights(config.weights)
        else:
            load_weights(backbone or first_backbone(resolved)[0], config.weights)


def _backbone_of_mmpretrain(resolved: Resolved) -> nn.Module | None:
    """The backbone of a classifier where it is one of mmpretrain's, which tell a value that does not fit by KeyError or assert.

    Raises:
        InputError: it does not fit.
    """
    if resolved.is_dense or "backbone" in resolved.overrides:
        return None
    config = resolved.config.model.backbone.to_dict()
    kind = config.get("type")
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        factory = kind if isinstance(kind, type) else MODELS.get(kind)
    if not getattr(factory, "__module__", "").startswith("mmpretrain."):
        return None  # where code of one's own fails, its traceback says more
    try:
        return built_backbone(config)[0]
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        text = str(error.args[0]) if error.args else ""
        raise InputError(
            f"{resolved.source}, backbone: {getattr(factory, '__name__', kind)} cannot be built of these values"
            f"{f', {text}' if text else ''}: correct the config"
        ) from error


def check_hold(second: Resolved, backbone: nn.Module, title: str, name: str, others: Sequence[str]) -> None:
    """Whether a second stage can keep the backbone of its first one as its config says.

    Args:
        second: of the second stage.
        backbone: of the first one.
        title: its name.
        name: of the second stage, for the message.
        others: second stages that need no batch norm, likewise.

    Raises:
        InputError: it shifts batch norms and there are none.
    """
    if hold_of(second.config.model) != "shifted_bn" or has_batch_norm(backbone):
        return
    instead = (
        f", or take longtail/stage2.py --method {' or '.join(others)} after the first stage alone" if others else ""
    )
    raise InputError(f"{name} shifts the statistics of batch norms, and {title} has none: add --hold frozen{instead}")


def check_last_batch(model: nn.Module, loader: Any, processes: int) -> None:
    """Whether a net can be trained on the last batch of an epoch where that is one image: batch norm may refuse it.

    It normalises what a channel has in all pixels of all images, which is a single value where the net has pooled the image to
    one pixel before. Nothing of the net is changed.

    Args:
        model: the net, on the loader's device.
        loader: of the training images.
        processes: that share a batch, each with batch norms over its part.

    Raises:
        InputError: it cannot.
    """
    last = loader.num_samples % loader.batch_size or loader.batch_size
    if last // processes != 1:
        return
    net, image = copy.deepcopy(model).train(), torch.zeros(1, 3, *loader.image_set.image_size, device=loader.device)
    try:
        with torch.no_grad(), apart_from_the_model():
            net(image, mode="tensor")
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        each = "" if processes == 1 else " to a process"
        raise InputError(
            f"{loader.num_samples} training images in batches of {loader.batch_size} leave one image{each} in the last one, which "
            "batch norm cannot normalise: add an image or leave one out, or use a config with another train_dataloader.batch_size "
            "or with drop_last=True"
        ) from error


def first_backbone(resolved: Resolved) -> tuple[nn.Module, str]:
    """The backbone of a first stage, built for a look at it, and its name."""
    name = resolved.overrides.get("backbone")
    if name is not None:
        return build_backbone(name, num_classes=0), name
    return built_backbone(resolved.config.model.backbone.to_dict(), "mmseg" if resolved.is_dense else "mmpretrain")


def built_backbone(config: dict[str, Any], scope: str = "mmpretrain") -> tuple[nn.Module, str]:
    """The backbone of a config, built for a look at it, and its name; ``scope`` is of the library that has it."""
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(dict(config)), config.get("name", config["type"])
