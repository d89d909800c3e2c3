"""CAR under Hugging Face Accelerate: mixed precision and several processes are its business, not the regularizer's.

pip install accelerate
python examples/accelerate_loop.py
accelerate launch --num_processes 2 --cpu examples/accelerate_loop.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sar_cls


class RegularizedNet(nn.Module):
    """Network and regularizer as one module, so that one wrapper serves both."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8))
        self.classifier = nn.Linear(8, 4)
        self.regularizer = sar_cls.CAR(num_classes=4, feat_dim=8)

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The whole training loss."""
        features = self.backbone(inputs)
        losses = self.regularizer(features, labels, self.classifier)
        return F.cross_entropy(self.classifier(features), labels) + sum(losses.values())


def main() -> list[float]:
    torch.manual_seed(0)
    accelerator = Accelerator()
    centers = 3 * torch.randn(4, 16)
    labels = torch.arange(256) % 4
    data = TensorDataset(centers[labels] + torch.randn(256, 16), labels)
    net = RegularizedNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    net, optimizer, loader = accelerator.prepare(net, optimizer, DataLoader(data, batch_size=32, shuffle=True))
    history = []
    for epoch in range(3):
        total = 0.0
        for inputs, targets in loader:
            loss = net(inputs, targets)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            total += loss.item()
        history.append(total / len(loader))
        accelerator.print(f"epoch {epoch + 1}: loss {history[-1]:.3f}")
    return history


if __name__ == "__main__":
    main()
