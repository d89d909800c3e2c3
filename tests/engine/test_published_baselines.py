"""The rows "as published": learning rates epoch by epoch, and what of them differs from the rows of one recipe."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import MultiStepLR
from mmengine.registry import PARAM_SCHEDULERS

import sar_cls.mm  # noqa: F401
from sar_cls.cli import CONFIGS
from sar_cls.engine.config import row_config
from sar_cls.suites.rows import load_suite

SUITE = load_suite(CONFIGS, "cifar100_lt")


def config_of(name: str) -> Config:
    return row_config(SUITE.row(name).source)


def learning_rates(name: str, epochs: int) -> list[float]:
    """The learning rate of each epoch, by the schedulers themselves."""
    config = config_of(name)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=config.optim_wrapper.optimizer.lr)
    entries = config.param_scheduler if isinstance(config.param_scheduler, list) else [config.param_scheduler]
    schedulers = [PARAM_SCHEDULERS.build(dict(entry, optimizer=optimizer)) for entry in entries]
    assert len(schedulers) == 1 or isinstance(schedulers[1], MultiStepLR)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def ldam_program(epoch: int) -> float:
    """Epochs from 1: a fifth of 0.1 more in each of the first 5; a hundredth after 160, a ten-thousandth after 180."""
    if epoch <= 5:
        return 0.1 * epoch / 5
    if epoch > 180:
        return 0.1 * 0.0001
    return 0.1 * 0.01 if epoch > 160 else 0.1


@pytest.mark.parametrize("name", ["ce_published", "cb_published", "focal_published", "ldam_drw_published"])
def test_schedule_of_ldam(name: str) -> None:
    assert learning_rates(name, 200) == pytest.approx([ldam_program(epoch) for epoch in range(1, 201)])
    assert learning_rates("ce", 200)[170] == pytest.approx(0.01)  # the recipe of MiSLAS falls to a tenth only


def test_losses_of_ldams_comparison() -> None:
    losses = {name: config_of(f"{name}_published").model.head.loss for name in ("cb", "focal", "ldam_drw")}
    assert (losses["cb"].divide_by, losses["cb"].get("beta", 0.9999)) == ("weights", 0.9999)
    assert (losses["focal"].gamma, losses["focal"].get("beta")) == (1.0, None)
    assert losses["ldam_drw"] == config_of("ldam_drw").model.head.loss


@pytest.mark.parametrize("name", ["crt_published", "lws_published"])
def test_second_stages_of_kang(name: str) -> None:
    config = config_of(name)
    epochs = {"crt_published": 10, "lws_published": 5}[name]
    assert config.train_cfg.max_epochs == epochs
    cosine = [0.1 * (1 + math.cos(math.pi * epoch / epochs)) for epoch in range(epochs)]
    assert learning_rates(name, epochs) == pytest.approx(cosine)
    assert (config.model.hold, config.train_dataloader.batch_size) == ("shifted_bn", 512)
    assert dict(config.train_dataloader.sampler) == dict(type="ClassAware", samples_per_class=4)
    assert config.train_dataloader.batches_per_epoch == "one_pass"  # 21 batches of the 10,847 images of imbalance 100
    assert config.optim_wrapper.optimizer.weight_decay == 5e-4
    assert config.continue_classifier is (name == "lws_published")
