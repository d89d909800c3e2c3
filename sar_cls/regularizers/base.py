"""What every regularizer shares: argument checks, one form of the targets, float32 outside autocast."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sar_cls.regularizers.classifier_call import HALF, in_precision
from sar_cls.regularizers.shared_state import broadcast_state, num_processes

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
    is prepared: inputs are checked, features are float32 (float64 if they came so), targets are label weights,
    autocast is off.

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

    Raises:
        ValueError: an argument is out of its range.
    """

    readings: ClassVar[tuple[Reading, ...]] = ()

    def __init__(self, num_classes: int, feat_dim: int) -> None:
        super().__init__()
        self.is_synchronized = False
        self.num_classes = self._whole_number("num_classes", num_classes, 2)
        self.feat_dim = self._whole_number("feat_dim", feat_dim, 1)

    def forward(self, features: Tensor, targets: Tensor, classifier: Classifier | None = None) -> dict[str, Tensor]:
        """Computes the weighted losses of one batch.

        Args:
            features: [N, D] floating point: what enters the classifier. Half precision is converted to float32;
                float64 features need the module converted by ``.double()``.
            targets: class indices [N] int64, or label weights [N, C] floating point whose rows sum to 1 (mixup,
                smoothing).
            classifier: any callable [*, D] -> [*, C]; it is called with float32 (float64) input outside autocast. A
                module in half precision is called with its parameters in float32; a plain function must take float32.

        Returns:
            Scalar losses, already weighted, to be added to the classification loss; the same keys at every step.

        Raises:
            ValueError: wrong shape or dtype; on the CPU outside ``torch.compile`` also labels or label weights out of
                range. On CUDA such values trigger a device-side assertion instead, which costs no synchronisation.
        """
        self._check_features(features)
        label_weights = self._label_weights(features, targets)
        if self.training and not self.is_synchronized and num_processes() > 1:
            self.synchronize()
        dtype = label_weights.dtype
        with torch.autocast(features.device.type, enabled=False):
            return self.losses(
                features.to(dtype), label_weights, None if classifier is None else in_precision(classifier, dtype)
            )

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

    def losses(self, features: Tensor, label_weights: Tensor, classifier: Classifier | None) -> dict[str, Tensor]:
        """The method itself. ``features`` [N, D] and ``label_weights`` [N, C] have the same dtype; autocast is off."""
        raise NotImplementedError(f"{type(self).__name__} must implement losses()")

    def diagnostics(self, reset: bool = True) -> dict[str, float]:
        """Figures about the steps since the last reset, for the log. Waits for the device: call it between steps."""
        return {}

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, feat_dim={self.feat_dim}"

    # Checks of constructor arguments. Each returns the value, so that an assignment reads as one line.

    def _whole_number(self, name: str, value: int, least: int) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            number = least - 1
        if number < least:
            raise ValueError(f"{type(self).__name__}: {name} is {value!r}: give a whole number of at least {least}")
        return number

    def _weight(self, name: str, value: float) -> float:
        if not _is_real(value) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{type(self).__name__}: {name} is {value!r}: give a finite number of at least 0")
        return float(value)

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

    def _check_features(self, features: Tensor) -> None:
        me = type(self).__name__
        if features.dim() != 2 or features.shape[1] != self.feat_dim:
            raise ValueError(
                f"{me}: features have shape {list(features.shape)}: give [N, {self.feat_dim}], what enters the "
                "classifier after global pooling, or construct with another feat_dim"
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

    def _label_weights(self, features: Tensor, targets: Tensor) -> Tensor:
        """Targets of either form as label weights [N, C] in the dtype of the computation."""
        me, num_samples, num_classes = type(self).__name__, features.shape[0], self.num_classes
        if targets.device != features.device:
            raise ValueError(
                f"{me}: targets are on {targets.device} and features on {features.device}: move the targets"
            )
        if targets.dim() == 1:
            if targets.dtype != torch.int64:
                raise ValueError(f"{me}: class indices are {targets.dtype}: convert them by .long()")
            if targets.shape[0] != num_samples:
                raise ValueError(f"{me}: {targets.shape[0]} targets for {num_samples} features: give one for each")
            in_range = (targets >= 0) & (targets < num_classes)
            self._check_values(in_range, f"{me}: class indices must be from 0 to {num_classes - 1}: check the labels")
            classes = torch.arange(num_classes, device=targets.device)
            return (targets.unsqueeze(1) == classes).to(_compute_dtype(features))
        if list(targets.shape) != [num_samples, num_classes]:
            raise ValueError(
                f"{me}: targets have shape {list(targets.shape)}: give class indices [{num_samples}] or "
                f"label weights [{num_samples}, {num_classes}]"
            )
        if not targets.is_floating_point():
            raise ValueError(
                f"{me}: label weights are {targets.dtype}: give class indices [N], or convert them by .float()"
            )
        weights = targets.detach().to(_compute_dtype(features))
        is_distribution = (weights >= 0).all(dim=1) & ((weights.sum(dim=1) - 1).abs() < ROW_SUM_TOLERANCE)
        self._check_values(
            is_distribution, f"{me}: label weights must be at least 0 and sum to 1 in each row: check the mixing"
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


def squared_distance(features: Tensor, label_weights: Tensor, anchors: Tensor) -> Tensor:
    """Mean over samples and channels of (F - Y A)^2 (SAR paper, Eq. 4); shapes [N, D], [N, C] and [C, D]."""
    return (features - label_weights @ anchors).square().mean()


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of ``values`` over all processes of a distributed run; ``values`` in a single one. No gradient."""
    values = values.detach()
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total


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
