"""What every regularizer shares: argument checks, one form of the targets, float32 outside autocast."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sar_cls.dense import flatten_maps, flatten_targets
from sar_cls.regularizers.classifier_call import HALF, in_precision, on_vectors
from sar_cls.regularizers.shared_state import broadcast_state
from sar_cls.regularizers.targets import Targets
from sar_cls.whole_batch import num_processes, total

Classifier = Callable[[Tensor], Tensor]

# Rows of soft targets may miss the sum 1 by this much: bfloat16 targets do, logits passed by mistake miss it by far.
ROW_SUM_TOLERANCE = 1e-2


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


class Regularizer(nn.Module):
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
    # Whether means and class statistics are those of the batches of all processes (see sar_cls.whole_batch).
    whole_batch: bool = False

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
            ValueError: wrong shape or dtype, or a convolution that is not 1x1; on the CPU outside ``torch.compile`` also
                labels or weights out of range. On CUDA such values trigger a device-side assertion instead, which costs no
                synchronisation.
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
            classifier = in_precision(on_vectors(classifier), prepared.dtype)
        with torch.autocast(features.device.type, enabled=False):
            return self.losses(features, prepared, classifier)

    def synchronize(self, group: torch.distributed.ProcessGroup | None = None) -> None:
        """Gives all processes of a distributed run the state of the first one: anchors are drawn, and seeds may differ.

        The first training step does so by itself, for all processes. Call it before, on all of them, where that step is
        compiled with ``fullgraph=True`` or captured without a warm-up, or where only the processes of ``group`` have a
        regularizer (a pipeline's last stage). It is done once: :attr:`is_synchronized` says so, and later steps
        send nothing.
        """
        broadcast_state(self, group)
        self.is_synchronized = True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Regularizer:
        """What ``to()``, ``half()``, ``cuda()`` and the like go through: whatever would be in half precision is float32."""

        def convert(tensor: Tensor) -> Tensor:
            converted = fn(tensor)
            return tensor.to(converted.device, torch.float32) if converted.dtype in HALF else converted

        return super()._apply(convert, recurse)

    def losses(self, features: Tensor, targets: Targets, classifier: Classifier | None) -> dict[str, Tensor]:
        """The method itself, on N vectors, whether they are images or pixels.

        Args:
            features: [N, D] of the dtype ``targets.dtype``; autocast is off.
            targets: labels and weights of the samples; ``targets.mean(values)`` is the mean over those that count.
            classifier: a callable [*, D] -> [*, C], or None.
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

    # Checks of the inputs of a step. All but the last look at shapes and dtypes only.

    def _check_devices(self, features: Tensor, targets: Tensor, sample_weights: Tensor | None) -> None:
        for name, tensor in (("targets", targets), ("sample_weights", sample_weights)):
            if tensor is not None and tensor.device != features.device:
                raise ValueError(
                    f"{type(self).__name__}: {name} are on {tensor.device} and features on {features.device}: "
                    f"move the {name}"
                )

    def _flat(self, features: Tensor, targets: Tensor, sample_weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Feature maps, their targets and weights as those of the pixels."""
        me, num_classes = type(self).__name__, self.num_classes
        num_images, channels, height, width = features.shape
        is_soft = targets.is_floating_point()
        if channels != self.feat_dim:
            raise ValueError(
                f"{me}: feature maps have shape {list(features.shape)}: give [N, {self.feat_dim}, H, W], what enters the "
                "classifier, or construct with another feat_dim"
            )
        given = [num_images, num_classes, *targets.shape[2:]] if is_soft else [num_images, *targets.shape[1:]]
        if targets.dim() != (4 if is_soft else 3) or list(targets.shape) != given:
            raise ValueError(
                f"{me}: targets of feature maps {list(features.shape)} are {targets.dtype} {list(targets.shape)}: give "
                f"class indices int64 [{num_images}, h, w] or label weights [{num_images}, {num_classes}, h, w]"
            )
        if not is_soft and targets.dtype != torch.int64:
            raise ValueError(f"{me}: class indices are {targets.dtype}: convert them by .long()")
        if features.numel() == 0 or targets.numel() == 0:
            raise ValueError(
                f"{me}: feature maps {list(features.shape)} or targets {list(targets.shape)} are without a pixel: skip the step"
            )
        if 0 <= self.ignore_index < num_classes:
            raise ValueError(
                f"{me}: ignore_index {self.ignore_index} is one of the {num_classes} classes: construct with another"
            )
        pixels = [num_images, *targets.shape[-2:]]
        if sample_weights is not None and list(sample_weights.shape) not in ([num_images], pixels):
            raise ValueError(
                f"{me}: sample_weights have shape {list(sample_weights.shape)}: give [{num_images}], one for each image, "
                f"or {pixels}, one for each pixel of the targets"
            )
        flat, weights = flatten_targets(targets, (height, width), self.ignore_index, sample_weights)
        return flatten_maps(features), flat, weights

    def _check_features(self, features: Tensor) -> None:
        me = type(self).__name__
        if features.dim() != 2 or features.shape[1] != self.feat_dim:
            raise ValueError(
                f"{me}: features have shape {list(features.shape)}: give [N, {self.feat_dim}], what enters the "
                "classifier after global pooling (or maps [N, D, H, W] with targets [N, h, w]), or construct with "
                "another feat_dim"
            )
        if features.shape[0] == 0:
            raise ValueError(f"{me}: the batch is empty: skip the step")
        if not features.is_floating_point():
            raise ValueError(f"{me}: features are {features.dtype}: give a floating point tensor")
        expected = _compute_dtype(features)
        for state in (*self.parameters(), *self.buffers()):
            if state.is_floating_point() and state.dtype != expected:
                raise ValueError(
                    f"{me}: features are {features.dtype} and the regularizer is {state.dtype}: convert the "
                    f"regularizer by .{'double' if expected == torch.float64 else 'float'}() (under FSDP2 shard it on its "
                    "own, with a mixed precision policy that has no param_dtype)"
                )

    def _targets(self, features: Tensor, targets: Tensor, sample_weights: Tensor | None, is_dense: bool) -> Targets:
        """Checked targets of vectors [N, D] in one form, in the dtype of the computation."""
        me, num_samples, num_classes = type(self).__name__, features.shape[0], self.num_classes
        dtype = _compute_dtype(features)
        weights = self._sample_weights(sample_weights, num_samples, dtype)
        if targets.dim() == 1:
            if targets.dtype != torch.int64:
                raise ValueError(f"{me}: class indices are {targets.dtype}: convert them by .long()")
            if targets.shape[0] != num_samples:
                raise ValueError(f"{me}: {targets.shape[0]} targets for {num_samples} features: give one for each")
            if weights is not None:  # no matter what label stands where nothing counts
                targets = targets.masked_fill(weights == 0, 0)
            in_range = (targets >= 0) & (targets < num_classes)
            besides = f", or {self.ignore_index} for none," if is_dense else ""
            self._check_values(
                in_range, f"{me}: class indices must be from 0 to {num_classes - 1}{besides}: check the labels"
            )
            return Targets(num_classes, dtype, labels=targets, sample_weights=weights, whole_batch=self.whole_batch)
        if list(targets.shape) != [num_samples, num_classes]:
            raise ValueError(
                f"{me}: targets have shape {list(targets.shape)}: give class indices [{num_samples}] or "
                f"label weights [{num_samples}, {num_classes}]"
            )
        if not targets.is_floating_point():
            raise ValueError(
                f"{me}: label weights are {targets.dtype}: give class indices [N], or convert them by .float()"
            )
        soft = targets.detach().to(dtype)
        is_distribution = (soft >= 0).all(dim=1) & ((soft.sum(dim=1) - 1).abs() < ROW_SUM_TOLERANCE)
        if weights is not None:
            is_distribution = is_distribution | (weights == 0)
            soft = soft.masked_fill((weights == 0).unsqueeze(1), 0)
        besides = " (0 in an ignored pixel)" if is_dense else ""
        self._check_values(
            is_distribution,
            f"{me}: label weights must be at least 0 and sum to 1 in each row{besides}: check the mixing",
        )
        return Targets(num_classes, dtype, soft=soft, sample_weights=weights, whole_batch=self.whole_batch)

    def _sample_weights(self, weights: Tensor | None, num_samples: int, dtype: torch.dtype) -> Tensor | None:
        if weights is None:
            return None
        me = type(self).__name__
        if list(weights.shape) != [num_samples]:
            raise ValueError(
                f"{me}: sample_weights have shape {list(weights.shape)}: give [{num_samples}], one for each sample"
            )
        if not weights.is_floating_point():
            raise ValueError(f"{me}: sample_weights are {weights.dtype}: convert them by .float()")
        weights = weights.detach().to(dtype)
        self._check_values(
            (weights >= 0) & weights.isfinite(), f"{me}: sample_weights must be finite and at least 0: check them"
        )
        return weights

    @staticmethod
    def _check_values(valid: Tensor, message: str) -> None:
        """Refuses a batch where ``valid`` is not all True, without waiting for a GPU; a compiled step is unchecked."""
        if torch.compiler.is_compiling():
            return
        if valid.device.type == "cpu":
            if not bool(valid.all()):
                raise ValueError(message)
        elif valid.device.type == "cuda":
            torch._assert_async(valid.all(), message)


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


def _compute_dtype(features: Tensor) -> torch.dtype:
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
