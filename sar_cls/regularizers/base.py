"""What every regularizer shares: checked arguments, float32 outside autocast, one state in all processes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sar_cls.regularizers.classifier_call import HALF, check_width, in_precision, on_vectors
from sar_cls.regularizers.inputs import CheckedInputs
from sar_cls.regularizers.shared_state import broadcast_state
from sar_cls.regularizers.targets import Targets
from sar_cls.whole_batch import num_processes, total

Classifier = Callable[[Tensor], Tensor]
# What heads call the classification loss beside a regularizer's own.
CLASSIFICATION_LOSS = "loss_ce"


@dataclass(frozen=True)
class Reading:
    """One figure of :meth:`Regularizer.diagnostics`, and what is worth doing with it.

    Attributes:
        name: its key there, and its column in the history of a run.
        title: of its panel in the figure of a regularizer's readings, a share from 0 to 1; empty where it is not drawn.
        in_record: whether the record keeps its mean over all epochs and over the last tenth of them.
        remark_at_zero: a sentence for a run in whose last tenth of epochs it was 0; empty for none.
    """

    name: str
    title: str = ""
    in_record: bool = False
    remark_at_zero: str = ""


class Regularizer(CheckedInputs):
    """Base of all regularizers: extra losses on the features that enter a classifier, used in training only.

    A new method is a subclass that implements :meth:`losses` and an entry in ``sar_cls.REGULARIZERS``. There everything
    is prepared: inputs are checked, feature maps are vectors, features are float32 (float64 if they came so), targets of
    every form are one :class:`Targets`, autocast is off.

    The samples are the N images of a batch, or, where features are maps, all their pixels; an ignored pixel is a sample of
    weight 0. A weight of 0 takes a sample out of every term: all means over samples are weighted means, and a batch whose
    weights are all 0 gives losses of 0 (but for terms without samples, such as SAR's ``loss_aux``) and moves no centre.

    A step must be the same sequence of operations whatever the data are: no ``.item()``, no Python branch on a tensor's
    value, the same keys every time, and state in buffers that are updated in place. Then it can be compiled whole and
    captured in a CUDA graph. In ``eval()`` the losses are still returned and no state changes.

    Its state stays in float32 where a model is converted to half precision (``.to(torch.bfloat16)``, ``.half()``): an
    average with momentum 0.999 does not move at all in bfloat16, whose digits end at 1/256.

    In a distributed run all processes get the parameters and buffers of the first one, at the first training step,
    whatever wraps the model (see :meth:`synchronize`). Wrapped with the model (DistributedDataParallel, ``fully_shard``)
    its parameters are trained like the model's.

    What :meth:`diagnostics` returns is logged with each epoch; ``readings`` says which of it a record keeps and which is drawn.

    Args:
        num_classes: number of classes C, at least 2.
        feat_dim: length D of the feature vectors, at least 1.
        ignore_index: label of the pixels of a feature map that have no class. Labels [N] of images know none: there 255
            may be a class.

    Raises:
        ValueError: an argument is out of its range.
    """

    readings: ClassVar[tuple[Reading, ...]] = ()
    # Whether losses() wants the features of samples with weight 0 as they are, instead of 0.
    sees_ignored: bool = False

    def __init__(self, num_classes: int, feat_dim: int, ignore_index: int = 255) -> None:
        super().__init__()
        self.is_synchronized = False
        self.num_classes = self._whole_number("num_classes", num_classes, 2)
        self.feat_dim = self._whole_number("feat_dim", feat_dim, 1)
        self.ignore_index = self._whole_number("ignore_index", ignore_index)

    def forward(
        self,
        features: Tensor,
        targets: Tensor,
        classifier: Classifier | None = None,
        sample_weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Computes the weighted losses of one batch, of vectors or of feature maps.

        Args:
            features: [N, D] floating point, or maps [N, D, H, W]: what enters the classifier. Half precision is converted
                to float32; float64 features need the module converted by ``.double()``.
            targets: class indices [N] int64, or label weights [N, C] floating point whose rows sum to 1 (mixup,
                smoothing). For maps indices [N, h, w] int64, ``ignore_index`` where a pixel has no class, or label
                weights [N, C, h, w], all 0 where it has none; another resolution than the features' is brought to it by
                nearest neighbour.
            classifier: any callable [*, D] -> [*, C], or a 1x1 convolution; it is called with float32 (float64) input
                outside autocast. A module in half precision is called with its parameters in float32; a plain function
                must take float32.
            sample_weights: [N] floating point, at least 0: how much each sample counts; 0 takes it out of every term,
                whatever its features and label are. For maps the weights of the images [N], or of pixels [N, h, w] at the
                targets' resolution. None, or 1 everywhere: all count alike (for vectors on the CPU the same to the bit).

        Returns:
            Scalar losses, already weighted, to be added to the classification loss; the same keys at every step.

        Raises:
            ValueError: wrong shape or dtype, a layer for another width than D, or a convolution that is not 1x1;
                :meth:`losses` of a subclass returned something else than named scalar losses; on the CPU outside
                ``torch.compile`` also labels or weights out of range. On CUDA such values trigger a device-side assertion
                instead, which costs no synchronisation.
        """
        self._check_devices(features, targets, sample_weights)
        is_dense = features.dim() == 4 and targets.dim() in (3, 4)
        if is_dense:
            features, targets, sample_weights = self._flat(features, targets, sample_weights)
        self._check_features(features)
        prepared = self._targets(features, targets, sample_weights, is_dense)
        if self.training and not self.is_synchronized and num_processes() > 1:
            self.synchronize()
        features = features.to(prepared.dtype)
        if prepared.sample_weights is not None and not self.sees_ignored:
            # Whatever stands in a sample that does not count (padding, perhaps NaN) reaches no loss and no gradient.
            features = features.masked_fill((prepared.sample_weights == 0).unsqueeze(1), 0)
        if classifier is not None:
            check_width(classifier, self.feat_dim)
            classifier = in_precision(on_vectors(classifier), prepared.dtype)
        with torch.autocast(features.device.type, enabled=False):
            return self._checked(self.losses(features, prepared, classifier))

    def synchronize(self, group: torch.distributed.ProcessGroup | None = None) -> None:
        """Gives all processes of a distributed run the state of the first one: anchors are drawn, and seeds may differ.

        The first training step does so by itself, for all processes. Call it before, on all of them, where that step is
        compiled with ``fullgraph=True`` or captured without a warm-up, or where only the processes of ``group`` have a
        regularizer (a pipeline's last stage). It is done once: :attr:`is_synchronized` says so.

        Later steps of SAR and FixedAnchors send nothing. Methods with centres or prototypes (CenterLoss, INC, ProtoSeg, CAR with
        ``running_centers`` or ``sync_centers``), and all with :mod:`whole_batch <sar_cls.whole_batch>`, sum over all processes of
        the run in every step: with a ``group`` of some of them they would wait for the others.
        """
        broadcast_state(self, group)
        self.is_synchronized = True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Regularizer:
        """What ``to()``, ``half()``, ``cuda()`` and the like go through: whatever would be in half precision is float32."""

        def convert(tensor: Tensor) -> Tensor:
            converted = fn(tensor)
            return tensor.to(converted.device, torch.float32) if converted.dtype in HALF else converted

        return super()._apply(convert, recurse)

    def _checked(self, losses: Any) -> dict[str, Tensor]:
        """What a subclass returned, if it is what a training loop adds up; no value is looked at, so nothing waits."""
        if not isinstance(losses, dict):
            found = f"is a {type(losses).__name__}"
        elif unnamed := [name for name in losses if not str(name).startswith("loss_")]:
            # Loops of the mm libraries add up what is called a loss, and log the rest: such a one would train nothing.
            found = f"has the name {unnamed[0]!r}"
        elif CLASSIFICATION_LOSS in losses:  # it would take that one's place
            found = f"has the name {CLASSIFICATION_LOSS!r}, which is the classification loss"
        elif wrong := [name for name, loss in losses.items() if not isinstance(loss, Tensor) or loss.ndim > 0]:
            loss = losses[wrong[0]]
            of = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
            found = f"has {wrong[0]!r} of {of}"
        elif whole := [name for name, loss in losses.items() if not loss.is_floating_point()]:
            found = f"has {whole[0]!r} of {losses[whole[0]].dtype}"
        else:
            return losses
        raise ValueError(
            f"{type(self).__name__}: what losses() returned {found}: return a dict of floating-point scalars whose names start "
            "with 'loss_', and none is 'loss_ce'"
        )

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        """The method itself, on N vectors, whether they are images or pixels.

        Args:
            features: [N, D] of the dtype ``targets.dtype``; autocast is off.
            targets: labels and weights of the samples; ``targets.mean(values)`` is the mean over those that count.
            classifier: a callable [*, D] -> [*, C], or None.

        Returns:
            Scalars, already weighted, whose names start with ``loss_``, but not ``loss_ce``, which is the classification loss; the
            same names at every step.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement losses()")

    def diagnostics(self, reset: bool = True) -> dict[str, float]:
        """Figures about the steps since the last reset, for the log. Waits for the device: call it between steps."""
        return {}

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, feat_dim={self.feat_dim}, ignore_index={self.ignore_index}"

    # Checks of constructor arguments. Each returns the value, so that an assignment reads as one line.

    def _whole_number(self, name: str, value: int, least: int | None = None) -> int:
        return whole_number(self, name, value, least)

    def _weight(self, name: str, value: float) -> float:
        if not _is_real(value) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{type(self).__name__}: {name} is {value!r}: give a finite number of at least 0")
        return float(value)

    def _above_0(self, name: str, value: float) -> float:
        number = self._weight(name, value)
        if number == 0:
            raise ValueError(f"{type(self).__name__}: {name} is 0: give a number above 0")
        return number

    def _probability(self, name: str, value: float) -> float:
        if not _is_real(value) or not 0 < value <= 1:
            raise ValueError(f"{type(self).__name__}: {name} is {value!r}: give a number above 0 and at most 1")
        return float(value)

    def _momentum(self, name: str, value: float) -> float:
        if not _is_real(value) or not 0 <= value < 1:
            raise ValueError(
                f"{type(self).__name__}: {name} is {value!r}: give a number of at least 0 and below 1 "
                "(at 1 nothing would ever move)"
            )
        return float(value)

    def _one_of(self, name: str, value: str, choices: Iterable[str]) -> str:
        choices = list(choices)
        if value not in choices:
            raise ValueError(f"{type(self).__name__}: {name} is {value!r}: choose one of {', '.join(choices)}")
        return value


def whole_number(of: nn.Module, name: str, value: object, least: int | None = None) -> int:
    """``value``, a constructor's argument ``name`` of the module ``of``, as an int.

    Raises:
        ValueError: it is no whole number, or below ``least``.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        wanted = "a whole number" if least is None else f"a whole number of at least {least}"
        raise ValueError(f"{type(of).__name__}: {name} is {value!r}: give {wanted}")
    return number


def squared_distance(features: Tensor, targets: Targets, anchors: Tensor) -> Tensor:
    """Mean over samples and channels of (F - Y A)^2 (SAR paper, Eq. 4) for F [N, D] and A [C, D]."""
    return targets.mean((features - targets.pick(anchors)).square())


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of ``values`` over all processes of a distributed run; ``values`` in a single one. No gradient."""
    return total(values.detach())


def snapshot(buffer: Tensor) -> Tensor:
    """A copy of a buffer that enters a gradient and is written later in the same step.

    Eagerly a clone would do. Compiled, the backward pass may recompute what it needs from the buffer itself, a clone
    included, and then reads the new state: silently wrong gradients (seen with torch 2.13, aot_eager and inductor). The
    result of a custom operator is kept instead.
    """
    return _opaque_clone(buffer) if torch.compiler.is_compiling() else buffer.clone()


@torch.library.custom_op("sar_cls::opaque_clone", mutates_args=(), schema="(Tensor x) -> Tensor")
def _opaque_clone(x: Tensor) -> Tensor:
    return x.clone()


@_opaque_clone.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
