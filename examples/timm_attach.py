"""SAR on a timm model by ``attach``: no line about features or classifiers.

python examples/timm_attach.py                 # resnet18 on random images, to show the calls
python examples/timm_attach.py --model vit_tiny_patch16_224 --steps 3
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F

import sar_cls
from sar_cls.torchvision_shim import import_torchvision


def main(arguments: list[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18", help="a name of timm (default: resnet18)")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels (default: 64)")
    parser.add_argument("--steps", type=int, default=5, help="training steps (default: 5)")
    options = parser.parse_args(arguments)

    import_torchvision()  # beside a CPU-only torch timm cannot import torchvision on its own; elsewhere it does nothing
    import timm

    torch.manual_seed(0)
    images, labels = torch.randn(8, 3, options.size, options.size), torch.arange(8) % 10
    sizes = {"img_size": options.size} if options.model.startswith("vit_") else {}
    model = sar_cls.attach(timm.create_model(options.model, num_classes=10, **sizes), sar_cls.SAR)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)  # the regularizer's parameters are among them
    history = []
    for step in range(options.steps):
        logits, losses = model(images, labels)
        loss = F.cross_entropy(logits, labels) + sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        print(f"step {step + 1}: " + ", ".join(f"{name} {value.item():.3f}" for name, value in losses.items()))

    logits = model.eval()(images)  # the model's own forward
    trained = model.detach()  # the plain timm model
    assert torch.equal(trained(images), logits)
    return history


if __name__ == "__main__":
    main()
