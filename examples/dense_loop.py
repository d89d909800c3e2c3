"""SAR on feature maps in a plain training loop, with torch, numpy and this library: scenes of real 8x8 digits from scikit-learn.

    python examples/dense_loop.py

Each scene shows four digits; a pixel's class is its digit or background, and faint pixels have none (255). The labels have twice
the resolution of the features. About 80 % mIoU after 120 steps, in a few seconds on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import sar_cls
from sar_cls.metrics import ConfusionMatrix, evaluate_segmentation

STEPS, BATCH, IGNORE = 120, 16, 255
BACKGROUND, NUM_CLASSES = 10, 11


class Net(nn.Module):
    """Features [N, 48, 16, 16] of images [N, 1, 32, 32], and a head as segmentation nets have it: dropout, 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, stride, dilation in ((1, 2, 1), (24, 1, 1), (48, 1, 2), (48, 1, 4)):
            width = 24 if channels == 1 else 48
            layers += [
                nn.Conv2d(channels, width, 3, stride, padding=dilation, dilation=dilation),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout2d(0.1)
        self.classifier = nn.Conv2d(48, NUM_CLASSES, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images)
        return self.classifier(self.dropout(features)), features


def scenes(images: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [count, 1, 32, 32] and masks [count, 32, 32] of four digits each, doubled in size."""
    chosen = torch.randint(len(labels), (count, 2, 2), generator=generator)
    tiles = images[chosen].repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)  # [count, 2, 2, 16, 16]
    whole = tiles.permute(0, 1, 3, 2, 4).reshape(count, 32, 32)
    digits = labels[chosen].repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)
    masks = torch.where(whole > 0.5, digits, torch.where(whole > 0.15, IGNORE, BACKGROUND))
    return whole.unsqueeze(1), masks


def main() -> float:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    data = load_digits()
    images, labels = torch.tensor(data.images, dtype=torch.float32) / 16, torch.tensor(data.target)
    is_test = torch.arange(len(labels)) % 4 == 0

    net = Net()
    sar = sar_cls.SAR(NUM_CLASSES, feat_dim=48, embedding="linear+conv", ignore_index=IGNORE)
    optimizer = torch.optim.AdamW([*net.parameters(), *sar.parameters()], lr=3e-3)
    for step in range(STEPS):
        batch, masks = scenes(images[~is_test], labels[~is_test], BATCH, generator)
        logits, features = net(batch)
        losses = sar(features, masks, net.classifier)  # what enters the head's dropout, as published
        upsampled = F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)
        loss = F.cross_entropy(upsampled, masks, ignore_index=IGNORE) + sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 40 == 0:
            readings = sar.diagnostics()
            print(
                f"step {step + 1}: loss {loss.item():.3f}, gate open at {100 * readings['share_gate_open']:.0f} % of steps"
            )

    net.eval()  # SAR is not needed any more
    confusion = ConfusionMatrix(NUM_CLASSES, IGNORE)
    with torch.inference_mode():
        for _ in range(4):
            batch, masks = scenes(images[is_test], labels[is_test], 32, generator)
            confusion.update_from_logits(net(batch)[0], masks)
    metrics = evaluate_segmentation(confusion.counts)
    print(f"test mIoU {metrics['miou']:.2f} %, pixel accuracy {metrics['pixel_accuracy']:.2f} %")
    return metrics["miou"]


if __name__ == "__main__":
    main()
