"""SAR in a plain training loop, with nothing but torch, numpy and this library: real 8x8 digits from scikit-learn.

    python examples/plain_loop.py

About 96 % after 5 epochs, in a few seconds on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import sar_cls

EPOCHS, BATCH = 5, 64


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images [n, 64] and labels, test images and labels; every fourth image is for the test."""
    data = load_digits()
    images, labels = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    is_test = torch.arange(len(labels)) % 4 == 0
    return images[~is_test], labels[~is_test], images[is_test], labels[is_test]


def main() -> float:
    torch.manual_seed(0)
    train_images, train_labels, test_images, test_labels = digits()
    backbone = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU())
    classifier = nn.Linear(32, 10)
    sar = sar_cls.SAR(num_classes=10, feat_dim=32)  # its embedding learns along
    optimizer = torch.optim.SGD(
        [*backbone.parameters(), *classifier.parameters(), *sar.parameters()], lr=0.1, momentum=0.9
    )
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(train_labels)).split(BATCH):
            features = backbone(train_images[batch])  # [N, D]: what enters the classifier
            losses = sar(features, train_labels[batch], classifier)
            loss = F.cross_entropy(classifier(features), train_labels[batch]) + sum(losses.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        readings = sar.diagnostics()  # of this epoch; waits for the device, so once an epoch
        print(
            f"epoch {epoch + 1}: loss {loss.item():.3f}, gate open at {100 * readings['share_gate_open']:.0f} % of steps"
        )

    backbone.eval()  # SAR is not needed any more
    with torch.inference_mode():
        accuracy = 100 * (classifier(backbone(test_images)).argmax(dim=1) == test_labels).float().mean().item()
    print(f"test accuracy {accuracy:.2f} %")
    return accuracy


if __name__ == "__main__":
    main()
