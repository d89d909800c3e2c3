"""timm and torchvision backbones, pre-trained weights and partial data sets, by option, in any suite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from sar_cls.data import ImageSet
from sar_cls.engine.fitting import fit_to_data
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve
from sar_cls.engine.run import Job, run
from sar_cls.errors import InputError
from sar_cls.mm.loaders import DataSplits
from sar_cls.models.library_backbones import build_backbone
from sar_cls.suites.rows import Source, load_suite

CONFIGS = Path(__file__).parents[2] / "configs"


def image_splits(classes: int, side: int, per_class: int = 2) -> DataSplits:
    labels = torch.arange(classes).repeat(per_class)
    images = torch.randint(0, 256, (len(labels), side, side, 3), generator=torch.Generator().manual_seed(0))
    parts = [
        ImageSet(images.to(torch.uint8), labels, tuple(str(c) for c in range(classes)), "cub200", split)
        for split in ("train", "test")
    ]
    return DataSplits(*parts)


def digits_job(tmp_path: Path, row: str = "baseline") -> Job:
    return Job("digits", row, load_suite(CONFIGS, "digits").row(row).source, 0, tmp_path / "run")


def test_any_suite_takes_a_timm_backbone_with_a_regularizer(tmp_path: Path) -> None:
    record = run(digits_job(tmp_path, "sar"), Options(epochs=1, backbone="timm:test_resnet"))
    assert record["overrides"] == {"backbone": "timm:test_resnet"}
    assert record["backbone"] == "timm:test_resnet"
    assert record["method"] == "SAR"


@pytest.mark.parametrize(
    ("name", "side", "crop", "built_for"),
    [
        ("timm:resnet18", 256, 224, None),  # the model's own crop out of larger images
        ("timm:resnet18", 144, None, None),  # never larger than the image
        ("timm:vit_tiny_patch16_224", 32, None, 32),  # a fixed size is built for the crop
        ("timm:vit_tiny_patch16_224", 256, 224, None),
    ],
)
def test_the_model_s_own_mean_std_and_crop(name: str, side: int, crop: int | None, built_for: int | None) -> None:
    source = load_suite(CONFIGS, "cub200").row("resnet50_sar").source
    resolved = fit_to_data(resolve(source, Options(classes=3, backbone=name)), image_splits(3, side))
    config, info = resolved.config, build_backbone(name, num_classes=0)
    assert config.data_preprocessor.mean == list(info.mean)
    assert config.data_preprocessor.get("crop_size") == crop
    assert config.model.backbone.get("img_size") == built_for
    assert config.model.head.in_channels == info.feat_dim
    assert config.model.head.num_classes == 3


def test_a_vision_transformer_trains_with_sar() -> None:
    source = load_suite(CONFIGS, "cub200").row("resnet50_sar").source
    splits = image_splits(3, 32)
    resolved = fit_to_data(resolve(source, Options(classes=3, backbone="timm:vit_tiny_patch16_224")), splits)
    config = resolved.config
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()))
    model.train()
    batch = {"inputs": splits.train.images, "targets": splits.train.labels}
    preprocessor = model.data_preprocessor
    draws = preprocessor.draw(6, 6, (32, 32), torch.Generator().manual_seed(0))
    losses = model(**preprocessor({**batch, "draws": draws.per_sample}, True), mode="loss")
    sum(losses.values()).backward()
    assert set(losses) == {"loss_ce", "loss_aux", "loss_anchor"}
    assert all(torch.isfinite(value) for value in losses.values())
    assert model.head.regularizer.feat_dim == 192
    assert model.backbone.net.model.patch_embed.proj.weight.grad.abs().sum() > 0


def test_a_partial_cub_has_a_head_of_its_size_and_is_marked() -> None:
    resolved = resolve(load_suite(CONFIGS, "cub200").row("resnet18").source, Options(classes=50))
    assert resolved.config.train_dataloader.dataset.num_classes == 50
    assert resolved.overrides == {"classes": 50}
    whole = resolve(load_suite(CONFIGS, "cub200").row("resnet18").source, Options(classes=200))
    assert whole.overrides == {}
    assert whole.recipe == resolved.recipe


def test_a_crop_larger_than_the_image() -> None:
    source = load_suite(CONFIGS, "cub200").row("resnet18").source
    with pytest.raises(InputError, match="crop of 448"):
        fit_to_data(resolve(source, Options(classes=3)), image_splits(3, 400))


@pytest.mark.parametrize("kind", ["missing", "no checkpoint", "another net", "unknown backbone"])
def test_bad_weights_leave_nothing_behind(tmp_path: Path, kind: str) -> None:
    file, backbone = tmp_path / "weights.pth", "timm:resnet18"
    if kind == "no checkpoint":
        file.write_bytes(b"not a checkpoint")
    elif kind == "another net":
        torch.save({"conv1.weight": torch.zeros(3)}, file)
    elif kind == "unknown backbone":
        backbone = "timm:resnet1888"
    with pytest.raises(InputError) as caught:
        run(digits_job(tmp_path), Options(epochs=1, backbone=backbone, weights=str(file)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_weights_reach_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build_backbone("timm:test_resnet", num_classes=7)
    torch.save(source.model.state_dict(), tmp_path / "weights.pth")
    # One epoch at a vanishing learning rate leaves the weights where they were put.
    config = (CONFIGS / "digits" / "baseline.py").read_text(encoding="utf-8").replace("lr=0.05", "lr=1e-12")
    (tmp_path / "slow.py").write_text(config, encoding="utf-8")
    job = Job("digits", "slow", Source(tmp_path / "slow.py"), 0, tmp_path / "run")
    run(job, Options(epochs=1, backbone="timm:test_resnet", weights=str(tmp_path / "weights.pth")))
    trained = torch.load(tmp_path / "run" / "last.pth", weights_only=True)["state_dict"]
    torch.testing.assert_close(trained["backbone.net.model.conv1.0.weight"], source.model.conv1[0].weight.detach())


def test_another_backbone_starts_from_its_own_weights() -> None:
    path = CONFIGS / "cub200" / "lite0_128.py"
    assert resolve(Source(path), Options()).config.weights == "timm:tf_efficientnet_lite0"
    assert resolve(Source(path), Options(backbone="timm:resnet18")).config.weights == "timm:resnet18"
    assert resolve(Source(path), Options(backbone="timm:resnet18", weights="none")).config.weights is None
    assert (
        resolve(Source(CONFIGS / "digits" / "baseline.py"), Options(backbone="timm:resnet18")).config.get("weights")
        is None
    )
