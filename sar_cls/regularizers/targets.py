"""What a regularizer learns about the samples of a batch: classes, hard or soft, and weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sar_cls.whole_batch import total


@dataclass
class Targets:
    """Targets of N samples (images, or pixels of a feature map): indices or weights of classes, and weights of samples.

    A sample of weight 0 is in no mean and no sum, and shapes do not depend on it. The methods are what formulas need of
    Y [N, C], the matrix of label weights, and s [N], the weights of samples (all 1 where none are given). Hard labels pick
    rows by index: on the pixels of a feature map a product with a one-hot matrix would be most of the work.

    Attributes:
        num_classes: C.
        dtype: of the computation, float32 or float64.
        labels: class indices [N] int64 in 0 ... C - 1; None for soft labels.
        soft: label weights [N, C] of ``dtype``, rows that sum to 1 (all 0 where the weight is 0); None for hard.
        sample_weights: s [N] of ``dtype``, at least 0; None where all are 1.
        whole_batch: whether means and totals are over the samples of all processes of a distributed run.
    """

    num_classes: int
    dtype: torch.dtype
    labels: Tensor | None = None
    soft: Tensor | None = None
    sample_weights: Tensor | None = None
    whole_batch: bool = False

    def label_weights(self) -> Tensor:
        """Y [N, C] of ``dtype``: the soft labels, or one-hot rows that are made at each call."""
        if self.soft is not None:
            return self.soft
        labels = self._hard()
        return (labels.unsqueeze(1) == torch.arange(self.num_classes, device=labels.device)).to(self.dtype)

    def pick(self, rows: Tensor) -> Tensor:
        """Y R [N, K] of one row for each class, R [C, K]: hard labels pick their class's row."""
        return self.soft @ rows if self.soft is not None else rows.index_select(0, self._hard())

    def weight_on(self, classes: Tensor) -> Tensor:
        """The label weight of each sample [N] that falls on ``classes`` (bool [C]), of ``dtype``."""
        if self.soft is not None:
            return (self.soft * classes).sum(dim=1)
        return classes.index_select(0, self._hard()).to(self.dtype)

    def class_totals(self, features: Tensor, label_weights: Tensor | None = None) -> Tensor:
        """[C, D + 1]: the weighted sum of the features [N, D] of each class, ``(s Y)' F``, and in the last column ``(s Y)' 1``.

        ``label_weights`` is Y where the caller has it already. One-hot rows are multiplied here: the sum of each class is
        then the same at every run on a GPU too, where adding by index is not.
        """
        weights = self.label_weights() if label_weights is None else label_weights
        if self.sample_weights is not None:
            weights = weights * self.sample_weights.unsqueeze(1)
        totals = torch.cat([weights.T @ features, weights.sum(dim=0).unsqueeze(1)], dim=1)
        return total(totals) if self.whole_batch else totals

    def mean(self, values: Tensor) -> Tensor:
        """Mean over samples and all further dimensions of ``values`` [N, ...]: ``sum_i s_i v_i / (sum_i s_i * K)`` with K
        entries a sample; 0 where all weights are 0."""
        if self.sample_weights is None:
            return self.mean_of_all(values)
        weights = self.sample_weights.sum() * (values.numel() // values.shape[0])
        summed = self._sum(values, self.sample_weights)
        if self.whole_batch:
            summed, weights = total(torch.stack([summed, weights]))
        return summed / torch.where(weights > 0, weights, torch.ones_like(weights))

    def mean_over_all(self, values: Tensor) -> Tensor:
        """``sum_i s_i v_i / (N * K)``: samples of weight 0 add nothing and count in the denominator."""
        if self.sample_weights is None:
            return self.mean_of_all(values)
        return self._quotient(self._sum(values, self.sample_weights), values.numel())

    def mean_of_all(self, values: Tensor) -> Tensor:
        """Mean of all ``values``, whatever the weights of their samples."""
        return self._quotient(values.sum(), values.numel()) if self.whole_batch else values.mean()

    def _quotient(self, summed: Tensor, number: int) -> Tensor:
        if not self.whole_batch:
            return summed / number
        summed, numbers = total(torch.stack([summed, torch.full_like(summed, number)]))
        return summed / numbers

    @staticmethod
    def _sum(values: Tensor, weights: Tensor) -> Tensor:
        return (values * weights.reshape(-1, *[1] * (values.dim() - 1))).sum()

    def zero_without_samples(self, loss: Tensor) -> Tensor:
        """``loss``, or 0 where all weights are 0, for a term that is not 0 by itself there."""
        if self.sample_weights is None:
            return loss
        counted = (self.sample_weights > 0).sum()
        return torch.where((total(counted) if self.whole_batch else counted) > 0, loss, torch.zeros_like(loss))

    def _hard(self) -> Tensor:
        assert self.labels is not None, "either labels or soft is given"
        return self.labels
