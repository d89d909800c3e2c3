"""A regularizer on any model for classification or segmentation, for a plain training loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sar_cls.errors import InputError
from sar_cls.models.classifier_input import ClassifierInput
from sar_cls.models.classifiers import find_classifier, flat_features
from sar_cls.models.output_check import check_classes
from sar_cls.regularizers.arguments import check_arguments
from sar_cls.regularizers.classifier_call import on_vectors


class AttachedModel(nn.Module):
    """A model with a regularizer on what enters its classifier; see :func:`attach`.

    While training, ``forward(inputs, targets)`` returns the model's output and the regularizer's losses. In evaluation
    it is the model's own forward, without the targets. The model itself stays as it was: ``attached.model`` is the very object
    that was given.

    Attributes:
        model: the classification or segmentation model.
        regularizer: called with features [N, D] or maps [N, D, H, W], targets and the classifier.
        feat_dim: D.
        num_classes: C.
    """

    def __init__(
        self, model: nn.Module, regularizer: nn.Module, classifier_input: ClassifierInput, *, is_named: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.regularizer = regularizer
        self._classifier_input = classifier_input
        self.feat_dim = classifier_input.classifier.feat_dim
        self.num_classes = classifier_input.classifier.num_classes
        self._is_named = is_named
        self._own_names = _named_arguments(model)

    def forward(self, *inputs: Any, **arguments: Any) -> Any:
        """The model's forward, and while training the regularizer's losses with it.

        Every training forward is a step of the regularizer's state (moving averages, warm-up), also where gradients are summed up
        over several. Activation checkpoints belong inside the model: one around this module would run such a step twice.

        For labels of pixels the features are the map that enters the classifier, before the dropout that a head may have in
        front of it (published SAR); for labels of images they are the vectors that enter it, as they enter.

        Args:
            *inputs: what the model takes by position. Where the targets are not named, the last of two or more is taken
                for them, in evaluation too, where it does not reach the model: ``attached(images, labels)``. What else the model
                takes is given by its name.
            **arguments: what the model takes by keyword, for example ``pixel_values=images``. ``targets=`` or ``labels=``
                are the targets: labels [N] int64 or soft labels [N, C], for segmentation [N, h, w] or [N, C, h, w] at
                any resolution, with the regularizer's ``ignore_index``. The model gets them too where its own forward has
                an argument of that name, as those of transformers have ``labels`` to compute their loss from.
                Targets are needed while training; in evaluation the regularizer does not look at them. ``sample_weights=``
                says how much each image or pixel counts, 0 for one without a label
                (:meth:`sar_cls.Regularizer.forward`); the model gets it only where its own forward has an argument of that name.

        Returns:
            While training (model output, losses): the output is whatever the model returns, logits or an object that
            holds them; the losses are scalars, already weighted, whose names start with ``loss_``: add them to the
            classification loss. In evaluation the model's output alone.

        Raises:
            ValueError: training without targets; targets twice; the last of several inputs is none.
            InputError: what enters the classifier is not one vector a sample, or no map where labels are of pixels; the layer
                that was taken for the classifier does not give the logits, is called several times or where no gradient is
                recorded.
        """
        weights = {} if arguments.get("sample_weights") is None else {"sample_weights": arguments["sample_weights"]}
        inputs, targets, arguments = self._split(inputs, arguments)
        if not self.training:
            return self.model(*inputs, **arguments)
        if targets is None:
            raise ValueError(
                "while training the regularizer needs the targets: call model(inputs, targets), name them by targets= or "
                "labels=, or call model.eval() first"
            )
        is_dense = isinstance(targets, Tensor) and targets.ndim > 2
        self._classifier_input.skips_dropout = is_dense
        output, features, logits = self._classifier_input.of(self.model, *inputs, **arguments)
        classifier = self._classifier_input.classifier
        check_classes(output, classifier, features, logits, 4 if is_dense else 2, is_named=self._is_named)
        if not is_dense:
            features = flat_features(features, self.feat_dim, classifier.name)
        elif features.ndim != 4 or features.shape[1] != self.feat_dim or isinstance(classifier.module, nn.Linear):
            raise InputError(
                f"targets are {list(targets.shape)}, and a tensor of shape {list(features.shape)} enters the classifier "
                f"'{classifier.name}' where maps [N, {self.feat_dim}, H, W] are needed: give a model for segmentation whose "
                "classifier is a 1x1 convolution, or labels [N] of images"
            )
        return output, self.regularizer(features, targets, on_vectors(classifier.module), **weights)

    def _replicate_for_data_parallel(self) -> AttachedModel:
        raise InputError(
            f"the threads of torch.nn.DataParallel would mix up the features of {type(self.model).__name__}: use "
            "DistributedDataParallel"
        )

    def _split(
        self, inputs: tuple[Any, ...], arguments: dict[str, Any]
    ) -> tuple[tuple[Any, ...], Tensor | None, dict[str, Any]]:
        """What the model takes by position, the targets, and what the model takes by keyword."""
        named = [name for name in ("targets", "labels") if arguments.get(name) is not None]
        if len(named) > 1:
            raise ValueError("both targets= and labels= are given: give one of them")
        targets = arguments[named[0]] if named else None
        kept = {
            name: value
            for name, value in arguments.items()
            if name not in ("targets", "labels", "sample_weights") or name in self._own_names
        }
        if targets is None and len(inputs) > 1:
            *first, targets = inputs
            if targets is not None and not self._is_target(targets):
                raise ValueError(
                    f"the last input by position is taken for the targets, and it is {_described(targets)}, neither class "
                    f"indices [N], whole numbers, nor label weights [N, {self.num_classes}], floating point"
                    f"{self._of_pixels()}: convert it, name the targets by targets=, or give this input by its name"
                )
            inputs = tuple(first)
        return inputs, targets, kept

    def _is_target(self, value: Any) -> bool:
        if not isinstance(value, Tensor):
            return False
        dims = (1, 3) if self._is_convolution() else (1,)
        if value.is_floating_point():
            return value.ndim - 1 in dims and value.shape[1] == self.num_classes
        return value.ndim in dims

    def _is_convolution(self) -> bool:
        return isinstance(self._classifier_input.classifier.module, nn.Conv2d)

    def _of_pixels(self) -> str:
        return f" nor those of pixels [N, h, w] or [N, {self.num_classes}, h, w]" if self._is_convolution() else ""

    def extra_repr(self) -> str:
        found = self._classifier_input.classifier
        return f"classifier='{found.name}', num_classes={self.num_classes}, feat_dim={self.feat_dim}"

    def export_state_dict(self) -> dict[str, Tensor]:
        """The model's own state alone, without the regularizer: it loads into the original architecture."""
        return self.model.state_dict()

    def detach(self) -> nn.Module:
        """Takes the hook off the model and returns the model; this object cannot train afterwards."""
        self._classifier_input.remove()
        return self.model


def attach(
    model: nn.Module,
    regularizer: nn.Module | str | Callable[..., nn.Module],
    *,
    classifier: str | None = None,
    **kwargs: Any,
) -> AttachedModel:
    """Puts a regularizer on a model for classification or segmentation.

    Args:
        model: any timm, torchvision or other model that ends in one linear classifier; or one for segmentation whose head
            ends in one 1x1 convolution: torchvision's FCN and DeepLabV3, those of transformers, segmentation-models-pytorch
            and mmseg. Auxiliary heads are left alone.
        regularizer: a built one (``SAR(num_classes=10, feat_dim=512)``), a class or factory called with
            ``num_classes`` and ``feat_dim`` (``SAR``), or its name in ``sar_cls.REGULARIZERS`` (``"SAR"``). A class,
            factory or name gets the two numbers from the model.
        classifier: the dotted name of the model's last linear layer, where it is not found by itself. Of a model with several
            outputs the first one's is taken, or refused where the layer that was found is another's.
        **kwargs: further arguments of a class, factory or name, for example ``anchor_weight=0.05``.

    Returns:
        A module whose training forward gives logits and losses, and whose evaluation forward is the model's.

    Raises:
        InputError: the model has a regularizer already, no classifier is found, one that is a convolution but not 1x1, an
            unknown name or argument, or a regularizer built for other sizes than the model's; a model without storage (the
            device "meta"), or one that DistributedDataParallel has wrapped already, beside a regularizer that is trained.

    Give the optimizer the parameters of what is returned, not those of ``model`` alone: SAR's embedding is trained too. To export a
    net, export ``attached.model`` or what :meth:`AttachedModel.detach` returns.

    Trained by a loop that calls the model with keywords, such as the Trainer of transformers, the loss is to be put together
    there: ``output, losses = model(**batch); loss = output.loss + sum(losses.values())`` (in ``Trainer.compute_loss``, with
    ``remove_unused_columns=False``, since the Trainer reads the names of the columns off the forward).

    Example:
        >>> model = sar_cls.attach(timm.create_model("resnet18", num_classes=10), sar_cls.SAR)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # SAR's embedding is trained too
        >>> logits, losses = model(images, labels)
        >>> (F.cross_entropy(logits, labels) + sum(losses.values())).backward()
        >>> net = sar_cls.attach(net_with_1x1_head, sar_cls.SAR, embedding="linear+conv")
        >>> output, losses = net(images, masks)  # masks [N, h, w], 255 where a pixel has no class
    """
    if isinstance(model, AttachedModel):
        raise InputError(
            f"the model has a regularizer, {type(model.regularizer).__name__}, already: take it off by model.detach(), or give "
            "both as one module, whose forward(features, targets, classifier) returns the losses of both in one dict"
        )
    found = find_classifier(model, classifier)
    weight = found.module.weight
    assert isinstance(weight, Tensor)
    if weight.is_meta:
        raise InputError(
            f"{type(model).__name__} is on the device meta, where anchors have no values: attach once it has its memory and weights"
        )
    if isinstance(regularizer, nn.Module):
        if kwargs:
            raise InputError(
                f"{', '.join(kwargs)}: arguments are for a regularizer given by class or name, not for a built one"
            )
        built = regularizer
    else:
        factory = _factory(regularizer)
        try:
            check_arguments(factory, kwargs)
        except ValueError as error:
            raise InputError(str(error)) from None
        built = factory(num_classes=found.num_classes, feat_dim=found.feat_dim, **kwargs)
    for name, needed in (("num_classes", found.num_classes), ("feat_dim", found.feat_dim)):
        given = getattr(built, name, needed)
        if given != needed:
            raise InputError(
                f"{type(built).__name__} was built with {name}={given}, but the classifier '{found.name}' of "
                f"{type(model).__name__} needs {name}={needed}: build it so, or give the class and let attach fill it in"
            )
    if isinstance(model, nn.parallel.DistributedDataParallel) and any(p.requires_grad for p in built.parameters()):
        raise InputError(
            f"{type(built).__name__} is trained and would not be the same in all processes: wrap both, "
            "DistributedDataParallel(sar_cls.attach(net, ...))"
        )
    built.to(device=weight.device).train(model.training)
    if weight.dtype == torch.float64:
        built.to(torch.float64)
    attached = AttachedModel(model, built, ClassifierInput(found, model), is_named=classifier is not None)
    attached.training = model.training  # not train(): parts of the model that are frozen in evaluation mode stay so
    return attached


def _described(value: Any) -> str:
    """A tensor by dtype and shape, anything else by its type."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _named_arguments(model: nn.Module) -> frozenset[str]:
    """The arguments that a model's forward takes under a name of their own; of a compiled model that of the one inside."""
    try:
        parameters = inspect.signature(getattr(model, "_orig_mod", model).forward).parameters.values()
    except (TypeError, ValueError):  # a forward of C++ (TorchScript) may have no signature
        return frozenset()
    return frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def _factory(regularizer: str | Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    if isinstance(regularizer, str):
        from sar_cls.regularizers import REGULARIZERS

        if regularizer not in REGULARIZERS:
            raise InputError(f"unknown regularizer '{regularizer}': choose one of {', '.join(sorted(REGULARIZERS))}")
        return REGULARIZERS[regularizer]
    if not callable(regularizer):
        raise InputError(f"regularizer is a {type(regularizer).__name__}: give a module, a class or a name")
    return regularizer
