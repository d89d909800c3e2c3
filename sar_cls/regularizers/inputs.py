"""What a step of a regularizer is given: checked, and brought to vectors and targets of one form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sar_cls.dense import flatten_maps, flatten_targets
from sar_cls.regularizers.targets import Targets

# Rows of soft targets may miss the sum 1 by this much: bfloat16 targets do, logits passed by mistake miss it by far.
ROW_SUM_TOLERANCE = 1e-2


class CheckedInputs(nn.Module):
    """Checks of features, targets and sample weights. All but the last look at shapes and dtypes only."""

    num_classes: int
    feat_dim: int
    ignore_index: int
    # Whether means and class statistics are those of the batches of all processes (see sar_cls.whole_batch).
    whole_batch: bool = False

    def _check_devices(self, features: Tensor, targets: Tensor, sample_weights: Tensor | None) -> None:
        for name, tensor in (("targets", targets), ("sample_weights", sample_weights)):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise ValueError(
                    f"{type(self).__name__}: {name} are a {type(tensor).__name__}: give a tensor, torch.as_tensor({name})"
                )
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
            besides = f", or {self.ignore_index} for none" if is_dense else ""
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


def _compute_dtype(features: Tensor) -> torch.dtype:
    return torch.float64 if features.dtype == torch.float64 else torch.float32
