"""The ResNet for 32x32 images (He et al. 2016, Sec. 4.2): 6n+2 layers, widths 16/32/64, parameter-free shortcuts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and an option-A shortcut: stride-2 subsampling, new channels filled with zeros."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        # The old channels sit in the middle, as in the published CIFAR code: half of the zeros before, half after.
        self.pad = (channels - in_channels) // 2
        if self.pad < 0 or 2 * self.pad + in_channels != channels:
            raise ValueError(
                f"Option A pads both sides alike: {channels} - {in_channels} channels must be even and >= 0."
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.stride != 1:
            # The same as x[:, :, ::stride, ::stride], but its backward pass is a kernel instead of zeros and a strided copy.
            shortcut = F.avg_pool2d(shortcut, 1, self.stride)
        if self.pad:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.pad, self.pad))
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += shortcut  # in place: the backward pass of batch norm does not read its output
        return F.relu(out, inplace=True)


class CIFARResNet(nn.Module):
    """ResNet-20/32/44/56/... for small images.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Sec. 4.2 (https://arxiv.org/abs/1512.03385):
    a 3x3 stem, three stages of n basic blocks at widths 16, 32 and 64, global average pooling. ``width=32`` is the net of
    widths 32/64/128 that papers on neural collapse use, because a simplex of 100 classes needs 99 features. Convolution and linear
    weights start Kaiming-normal (fan-in, gain sqrt(2)), as in the code of LDAM-DRW and MiSLAS, whose ResNet-32 this is.

    Args:
        depth: 6n+2 for n >= 1: 8, 20, 32, 44, 56, ...
        num_classes: Size of the linear classifier; ``None`` builds the backbone alone.
        in_channels: Channels of the image.
        width: Channels of the first stage; the others have twice and four times as many.
        projection: Features after a linear layer behind the pooling, D -> ``projection``, without bias; ``None`` has no
            such layer.

    Raises:
        ValueError: ``depth`` is not 6n+2, or a count is below 1.

    Example:
        >>> net = CIFARResNet(depth=32, num_classes=100)
        >>> net(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(
        self,
        depth: int = 32,
        num_classes: int | None = None,
        in_channels: int = 3,
        width: int = 16,
        projection: int | None = None,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"The depth of a CIFAR ResNet is 6n+2 (8, 20, 32, 44, 56, ...), not {depth}.")
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, or None for the backbone alone, not {num_classes}.")
        if in_channels < 1:
            raise ValueError(f"in_channels must be at least 1, not {in_channels}.")
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}.")
        if projection is not None and projection < 1:
            raise ValueError(f"projection must be at least 1, or None for no such layer, not {projection}.")
        self.depth = depth
        widths = (width, 2 * width, 4 * width)
        self.feat_dim = widths[-1] if projection is None else projection

        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages = []
        for index, channels in enumerate(widths):
            blocks = [BasicBlock(width, channels, stride=1 if index == 0 else 2)]
            blocks += [BasicBlock(channels, channels) for _ in range((depth - 2) // 6 - 1)]
            stages.append(nn.Sequential(*blocks))
            width = channels
        self.stages = nn.Sequential(*stages)
        self.projection = None if projection is None else nn.Linear(widths[-1], projection, bias=False)
        self.classifier = None if num_classes is None else nn.Linear(self.feat_dim, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew from torch's global generator; batch norms and biases get torch's own defaults."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
                nn.init.kaiming_normal_(module.weight)

    def feature_map(self, x: Tensor) -> Tensor:
        """Images [N, in_channels, H, W] -> the last stage's activations [N, 4 width, ceil(H/4), ceil(W/4)]."""
        return self.stages(F.relu(self.bn1(self.conv1(x)), inplace=True))

    def features(self, x: Tensor) -> Tensor:
        """Images [N, in_channels, H, W] -> pooled features [N, feat_dim], the input of the classifier."""
        pooled = self.feature_map(x).mean(dim=(2, 3))
        return pooled if self.projection is None else self.projection(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, in_channels, H, W] -> logits [N, num_classes]; without a classifier, features [N, feat_dim]."""
        features = self.features(x)
        return features if self.classifier is None else self.classifier(features)
