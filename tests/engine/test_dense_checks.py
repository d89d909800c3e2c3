"""What is refused about a segmentation net: one sentence each, before anything is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny_scenes import DENSE
from torch import Tensor

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from sar_cls.engine.options import Options
from sar_cls.engine.run import DataCache, Job, run
from sar_cls.errors import InputError

AUXILIARY = "model['auxiliary_head'] = dict(type='FCNHead', in_channels=48, in_index=2, channels=8, num_classes=11)"
LOSS = "model['decode_head']['loss_decode']"
CASCADE = """
stage = dict(in_channels=48, in_index=2, channels=8, num_classes=11)
model.update(
    type="CascadeEncoderDecoder",
    num_stages=2,
    decode_head=[dict(type="RegularizedFCNHead", **stage), dict(type="RegularizedOCRHead", ocr_channels=4, **stage)],
)
"""
MakeJob = Callable[..., Job]


@pytest.mark.parametrize(
    ("change", "options_", "message"),
    [
        ("train_cfg['val_interval'] = 4", {}, "max_iters is 6, not a multiple of val_interval, 4"),
        (
            "train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=0)",
            {},
            "val_interval is 0 and must be",
        ),
        ("train_cfg = dict(_delete_=True, max_epochs=3)", {}, "trained by iterations; give train_cfg max_iters"),
        ("", {"iterations": 5}, "evaluated every 2 iterations: give a multiple"),
        ("", {"epochs": 2}, "counts iterations: give --iterations instead of --epochs"),
        ("", {"backbone": "timm:resnet18"}, "--backbone is for classifiers"),
        ("", {"val_fraction": 0.1}, "--val-fraction is for classifiers"),
        ("", {"weights": "/nowhere/w.pth"}, "there is no weight file /nowhere/w.pth"),
        ("model['decode_head']['num_classes'] = 7", {}, "a head of 7 classes and the data has 11"),
        ("data_preprocessor['crop_size'] = (32, 97)", {}, "a crop of 32x97 pixels does not fit into images of 40x48"),
        (
            "model['decode_head'].update(type='SegformerHead', regularizer=dict(type='SAR'))",
            {},
            "SegformerHead takes no regularizer; write RegularizedSegformerHead",
        ),
        (
            "model['decode_head'].update(type='Mask2FormerHead', regularizer=dict(type='SAR'))",
            {},
            "Mask2FormerHead takes no regularizer; heads with one are RegularizedFCNHead",
        ),
        ("model['decode_head']['type'] = 'SegfomerHead'", {}, "there is no decode_head 'SegfomerHead'"),
        ("data_preprocessor['crop_size'] = 32", {}, r"crop_size of data_preprocessor is 32: give \[height, width\]"),
        (
            "data_preprocessor['crop_size'] = [32]",
            {},
            r"crop_size of data_preprocessor is \[32\]: give \[height, width\]",
        ),
        (
            "data_preprocessor['crop_size'] = '32'",
            {},
            r"crop_size of data_preprocessor is '32': give \[height, width\]",
        ),
        ("data_preprocessor['crop_size'] = [32, 32.0]", {}, r"is \[32, 32.0\]: give \[height, width\]"),
        ("data_preprocessor['crop_size'] = [32, 0]", {}, "crop_size must be height and width of at least 1 pixel"),
        ("data_preprocessor['scale'] = 2", {}, r"scale of data_preprocessor is 2: give \[smallest, largest\] factor"),
        ("data_preprocessor['scale'] = [2, 0.5]", {}, "scale must be two factors above 0, the smaller one first"),
        ("model['decode_head']['num_classes'] = '11'", {}, "decode_head has num_classes '11'; give a whole number"),
        ("model['decode_head']['num_classes'] = 11.0", {}, "decode_head has num_classes 11.0; give a whole number"),
        ("model['decode_head']['num_classes'] = True", {}, "decode_head has num_classes True; give a whole number"),
        ("model['decode_head']['num_classes'] = None", {}, "decode_head has no num_classes; add it"),
        (AUXILIARY.replace("=11)", "='11')"), {}, "auxiliary_head has num_classes '11'; give a whole number"),
        (
            "model['decode_head']['type'] = 'SegformerHead'",
            {},
            "decode_head SegformerHead takes no masks of images that are held in memory; write RegularizedSegformerHead",
        ),
        (
            "model['decode_head']['type'] = 'mmseg.SegformerHead'",
            {},
            "decode_head SegformerHead takes no masks of images that are held in memory; write RegularizedSegformerHead",
        ),
        (AUXILIARY, {}, "auxiliary_head FCNHead takes no masks of .*; write RegularizedFCNHead"),
        (
            AUXILIARY.replace("FCNHead", "LightHamHead"),
            {},
            "auxiliary_head LightHamHead takes no masks .*; heads that do are RegularizedFCNHead, ",
        ),
        (CASCADE, {}, "a cascade is trained by mmseg's pipelines alone, and .* held in memory; give one decode_head"),
        (
            "model['decode_head']['ignore_index'] = 254",
            {},
            "decode_head has ignore_index 254 and pixels without a class",
        ),
        ("model['decode_head']['ignore_index'] = 3", {}, "have the label 255 here; leave ignore_index out"),
        ("model['decode_head']['ignore_index'] = None", {}, "decode_head has ignore_index None and"),
        (f"{AUXILIARY[:-1]}, ignore_index=254)", {}, "auxiliary_head has ignore_index 254 and"),
        (
            f"{LOSS} = dict(type='CrossEntropyLos')",
            {},
            "loss_decode 'CrossEntropyLos': did you mean 'CrossEntropyLoss'",
        ),
        (
            f"{LOSS} = dict(avg_non_ignor=True)",
            {},
            "decode_head, loss_decode: CrossEntropyLoss has no argument 'avg_non_ignor': did you mean 'avg_non_ignore'",
        ),
        (
            f"{LOSS} = [dict(type='CrossEntropyLoss'), dict(type='DiceLos')]",
            {},
            "there is no loss_decode 'DiceLos': did you mean 'DiceLoss'",
        ),
        (
            f"{LOSS} = [dict(loss_weight=1.0)]",
            {},
            r"loss_decode of decode_head is \{'loss_weight': 1.0\}: write dict\(",
        ),
        (f"{LOSS} = 'CrossEntropyLoss'", {}, "loss_decode of decode_head is 'CrossEntropyLoss': write dict"),
        (f"{LOSS} = dict(use_sigmoid=True, use_mask=True)", {}, "loss_decode: its arguments do not go together"),
        (f"{LOSS} = dict(_delete_=True, type='GeneralizedReweighting')", {}, "missing 1 required .*'class_counts'"),
        (
            f"{LOSS} = dict(_delete_=True, type='GeneralizedReweighting', class_counts=None, rho=-1)",
            {},
            "decode_head, loss_decode: .*rho",
        ),
        (
            f"{AUXILIARY[:-1]}, type='RegularizedFCNHead', loss_decode=dict(type='None'))".replace(
                "type='FCNHead', ", ""
            ),
            {},
            "auxiliary_head, there is no loss_decode 'None'",
        ),
        (
            "model['decode_head']['sampler'] = dict(type='OHEMPixelSample')",
            {},
            "decode_head, there is no sampler 'OHEMPixelSample': did you mean 'OHEMPixelSampler'",
        ),
        (
            "model['decode_head']['sampler'] = dict(type='OHEMPixelSampler', tresh=0.7)",
            {},
            "sampler: OHEMPixelSampler has no argument 'tresh': did you mean 'thresh'",
        ),
        (
            "model['decode_head']['sampler'] = dict(type='OHEMPixelSampler', min_kept=1)",
            {},
            "decode_head, sampler: its arguments do not go together",
        ),
        ("data_preprocessor['flip'] = 2", {}, r"flip is a probability in \[0, 1\], got 2"),
        ("data_preprocessor['flip'] = 'often'", {}, "data_preprocessor: .*: correct the config"),
        ("data_preprocessor['cat_max_ratio'] = 0", {}, r"cat_max_ratio is a share in \(0, 1\], got 0"),
        ("data_preprocessor['crop_size'] = None", {}, r"data_preprocessor has no crop_size: give \[height, width\]"),
        (
            "data_preprocessor['mean'] = [127.5]",
            {},
            r"mean of data_preprocessor is \[127.5\]: give a number for each of 3",
        ),
        ("data_preprocessor['mean'] = None", {}, "mean of data_preprocessor is None: give a number for each of 3"),
        (
            "data_preprocessor['std'] = [0.0] * 3",
            {},
            r"std of data_preprocessor is \[0.0, 0.0, 0.0\]: give a number above 0",
        ),
        (
            "data_preprocessor['std'] = [1, 1, float('nan')]",
            {},
            r"std of data_preprocessor is \[1, 1, nan\]: give a number",
        ),
        ("data_preprocessor['std'] = [1, 1, '1']", {}, r"std of data_preprocessor is \[1, 1, '1'\]: give a number"),
        ("model['test_cfg'] = dict(mode='slide')", {}, "crop_size of test_cfg is None: windows need"),
        ("model['test_cfg'] = dict(mode='slide', crop_size=(32, 32))", {}, "stride of test_cfg is None: windows need"),
        (
            "model['test_cfg'] = dict(mode='slide', crop_size=(32, 32), stride=(0, 16))",
            {},
            r"stride of test_cfg is \(0, 16\): windows need \[height, width\] in pixels",
        ),
        (
            "model['test_cfg'] = dict(mode='slide', crop_size=(32, 32), stride=(16, 33))",
            {},
            r"windows of \(32, 32\) pixels at a stride of \(16, 33\) leave pixels out",
        ),
        ("model['test_cfg'] = dict(mode='slid')", {}, r"test_cfg of the model is \{'mode': 'slid'\}: write dict"),
        ("model['test_cfg'] = dict(_delete_=True)", {}, r"test_cfg of the model is \{\}: write dict"),
        ("model['test_cfg'] = None", {}, "test_cfg of the model is None: write dict"),
        ("model['decode_head']['regularizer'] = dict(type='SAR', taw=1)", {}, "SAR has no argument 'taw'"),
        (
            "model['decode_head']['in_channels'] = [24, 32, 48, 65]",
            {},
            r"has in_channels \[24, 32, 48, 65\] and the backbone",
        ),
        ("model['backbone']['name'] = 'timm:efficientnot'", {}, "timm has no model 'efficientnot'"),
    ],
)
def test_bad_input_is_one_sentence(
    change: str, options_: dict, message: str, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    job = make_job(DENSE + change + "\n")
    with pytest.raises(InputError, match=message) as error:
        run(job, Options(data_root=options.data_root, **options_), cache)
    assert "\n" not in str(error.value)
    assert not job.run_dir.exists()


@pytest.mark.parametrize("kind", ["RegularizedFCNHead", "OfOnesOwn"])
def test_an_auxiliary_head_that_takes_masks_is_trained(
    kind: str, make_job: MakeJob, options: Options, cache: DataCache
) -> None:
    """One of this project, and one of one's own that knows what to do with them."""
    from mmseg.models.decode_heads import FCNHead
    from mmseg.registry import MODELS

    @MODELS.register_module(name="OfOnesOwn", force=True)
    class OfOnesOwn(FCNHead):
        def _stack_batch_gt(self, masks: Tensor) -> Tensor:
            return masks

    job = make_job(DENSE + AUXILIARY.replace("FCNHead", kind) + "\n")
    assert run(job, options, cache)["epochs"] == 6
