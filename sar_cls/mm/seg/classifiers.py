"""What may stand in a decode head in place of its 1x1 convolution, or behind it."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from sar_cls.mm.head import PIXEL_CLASSIFIERS, apart_from_the_model
from sar_cls.models import ScoreCalibration
from sar_cls.regularizers.arguments import check_arguments
from sar_cls.regularizers.nearest_prototypes import NearestPrototypes, PrototypeEmbedding
from sar_cls.regularizers.proto_seg import ProtoSeg


class Prototypes(NamedTuple):
    """ProtoSeg's parts of a decode head.

    Attributes:
        embedding: of the maps behind the dropout.
        classifier: of the embedded maps, in place of the convolution.
        regularizer: its losses, and what moves its prototypes.
    """

    embedding: nn.Module
    classifier: nn.Module
    regularizer: nn.Module


def build_classifier(
    config: dict[str, Any] | None, num_classes: int, feat_dim: int
) -> ScoreCalibration | Prototypes | None:
    """Builds ``dict(type="disalign", ...)`` or ``dict(type="protoseg", per_class=10, ...)``.

    The number of classes and the channels come from the head. ProtoSeg is built apart from the model, as regularizers are.

    Raises:
        ValueError: an unknown ``type``, an argument that it does not take, or a bad value.
    """
    if config is None:
        return None
    arguments = dict(config)
    kind = arguments.pop("type", None)
    if kind == "disalign":
        check_arguments(ScoreCalibration, arguments, ("num_classes", "feat_dim", "maps"))
        return ScoreCalibration(num_classes, feat_dim, maps=True, **arguments)
    if kind == "protoseg":
        per_class = {"per_class": arguments.pop("per_class")} if "per_class" in arguments else {}
        check_arguments(ProtoSeg, arguments)
        with apart_from_the_model():
            return Prototypes(
                PrototypeEmbedding(feat_dim),
                NearestPrototypes(feat_dim, num_classes, **per_class),
                ProtoSeg(num_classes, feat_dim, **arguments),
            )
    raise ValueError(f"unknown classifier {kind!r}: choose one of {', '.join(PIXEL_CLASSIFIERS)}")
