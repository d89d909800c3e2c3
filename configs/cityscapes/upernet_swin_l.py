"""Cityscapes, UPerNet on Swin-L, for which mmseg ships no config: its one for ADE20K on mmseg's data at 1024x1024.

    python benchmarks/run.py --suite cityscapes --only upernet_swin_l --data-root DIR

8 images in total, AdamW 6e-5, weight decay 0.01, 1,024 x 1,024 as the paper says of transformers (Sec. 4.1); tested by sliding
windows of that size, as mmseg tests SegFormer there. The paper's figures (Tab. 1): 82.7, with SAR 83.2. The paper says nothing
of the iterations beyond 80k for this data set; those of mmseg's recipes for transformers, 160k, are taken. Made for a GPU; days
of it.
"""

_base_ = [
    "mmseg::_base_/models/upernet_swin.py",
    "mmseg::_base_/datasets/cityscapes_1024x1024.py",
    "mmseg::_base_/default_runtime.py",
    "mmseg::_base_/schedules/schedule_160k.py",
]

data_preprocessor = dict(size=(1024, 1024))
checkpoint = "https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/swin_large_patch4_window12_384_22k_20220412-6580f57d.pth"
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
        pretrain_img_size=384,
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
    ),
    decode_head=dict(type="RegularizedUPerHead", in_channels=[192, 384, 768, 1536], num_classes=19),
    auxiliary_head=dict(in_channels=768, num_classes=19),
    test_cfg=dict(mode="slide", crop_size=(1024, 1024), stride=(768, 768)),
)
# AdamW, without weight decay for position embeddings and norms (mmseg's recipe for Swin).
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0),
        )
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", eta_min=0.0, power=1.0, begin=1500, end=160000, by_epoch=False),
]
train_dataloader = dict(batch_size=8)
