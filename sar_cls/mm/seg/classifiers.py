"""What may stand in a decode head in place of its 1x1 convolution, or behind it."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from sar_cls.mm.head import PIXEL_CLASSIFIERS, apart_from_the_model, is_protoseg
from sar_cls.models import ScoreCalibration
from sar_cls.regularizers import REGULARIZERS
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


def check_entries(
    regularizer: Any, classifier: Any, num_classes: int, out_channels: int | None, ignore_index: int | None
) -> None:
    """Refuses what no decode head can have together, whatever the regularizer or classifier is.

    Args:
        regularizer: the head's entry of that name.
        classifier: likewise.
        num_classes: of the head.
        out_channels: of the head; None for as many as classes.
        ignore_index: of the head.

    Raises:
        ValueError: a sentence.
    """
    if regularizer is None and classifier is None:
        return
    if isinstance(regularizer, dict) and "ignore_index" in regularizer:
        raise ValueError("the regularizer gets ignore_index from the head: leave it out there")
    if out_channels not in (None, num_classes):
        raise ValueError(
            f"a head with {out_channels} output{'s' * (out_channels != 1)} for {num_classes} classes has no scores for each to "
            "regularize: leave out_channels out"
        )
    if is_protoseg(classifier) and regularizer is not None:
        raise ValueError(
            "protoseg brings its own losses and has no class weights to regularize: leave the regularizer out"
        )
    if (
        (regularizer is not None or is_protoseg(classifier))
        and ignore_index is not None
        and 0 <= ignore_index < num_classes
    ):
        raise ValueError(
            f"ignore_index {ignore_index} of the head is one of its {num_classes} classes: give a label of no class, such as 255"
        )


def build_classifier(
    config: dict[str, Any] | None, num_classes: int, feat_dim: int
) -> ScoreCalibration | Prototypes | None:
    """Builds ``dict(type="disalign", ...)`` or ``dict(type="protoseg", per_class=10, ...)``.

    The number of classes and the channels come from the head. ProtoSeg is built apart from the model, as regularizers are.

    Raises:
        ValueError: no dict, an unknown ``type``, an argument that it does not take, or a bad value.
    """
    if config is None:
        return None
    if not isinstance(config, dict):
        raise ValueError(f'the classifier is {config!r}: write one as dict(type="protoseg")')
    arguments = dict(config)
    kind = arguments.pop("type", None)
    if kind == "disalign":
        check_arguments(ScoreCalibration, arguments, ("num_classes", "feat_dim", "maps"))
        return ScoreCalibration(num_classes, feat_dim, maps=True, **arguments)
    if kind == "protoseg":
        per_class = {"per_class": arguments.pop("per_class")} if "per_class" in arguments else {}
        check_arguments(ProtoSeg, arguments, ("num_classes", "feat_dim", "ignore_index"))
        with apart_from_the_model():
            return Prototypes(
                PrototypeEmbedding(feat_dim),
                NearestPrototypes(feat_dim, num_classes, **per_class),
                ProtoSeg(num_classes, feat_dim, **arguments),
            )
    if kind in REGULARIZERS:
        raise ValueError(f'{kind} is no classifier: write regularizer=dict(type="{kind}")')
    near = str(kind).lower()
    hint = f"did you mean {near!r}?" if near in PIXEL_CLASSIFIERS else f"choose one of {', '.join(PIXEL_CLASSIFIERS)}"
    raise ValueError(f"unknown classifier {kind!r}: {hint}")
