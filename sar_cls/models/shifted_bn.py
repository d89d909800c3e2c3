"""Two ways to keep a trained backbone in a second stage: frozen, or frozen but for its batch norms' statistics."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze(backbone: nn.Module) -> None:
    """No gradient and evaluation mode: no parameter and no buffer changes.

    The backbone that is kept as it is in cRT and LWS (Kang et al. 2020, Sec. 4; their program leaves batch norms in training
    mode, see :func:`freeze_with_shifted_bn`), and MiSLAS's second stage on CIFAR-10-LT (``shift_bn: False``).

    ``model.train()`` switches the backbone back to training mode, so call this after it, each time.
    """
    backbone.requires_grad_(False)
    backbone.eval()


def freeze_with_shifted_bn(backbone: nn.Module) -> None:
    """No gradient but training mode: the batch norms' running statistics move to the new sampling, nothing else.

    Zhong et al., "Improving Calibration for Long-Tailed Recognition" (MiSLAS), CVPR 2021, "shift learning on batch
    normalization" (https://arxiv.org/abs/2104.00466): the statistics of stage 1 belong to instance-balanced batches,
    stage 2 sees class-balanced ones. As in its code, affine parameters stay, and in training a batch is normalized by
    its own statistics. A later ``eval()`` or ``train()`` of the model sets the mode of the backbone as usual.

    Raises:
        ValueError: No batch norm with running statistics is in the backbone, so nothing could shift.
    """
    if not any(isinstance(module, _BatchNorm) and module.track_running_stats for module in backbone.modules()):
        raise ValueError("The backbone has no batch norm with running statistics to shift; use freeze() instead.")
    backbone.requires_grad_(False)
    backbone.train()
