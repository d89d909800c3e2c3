"""CUB-200-2011, ResNet-50, plain cross-entropy: mmpretrain's own resnet50_8xb8_cub on one device.

    python benchmarks/run.py --suite cub200 --only resnet50 --data-root DIR
    python benchmarks/run.py --suite cub200 --only resnet50 --data-root DIR --weights FILE

Paper (Tab. 9): 88.19 top-1; mmpretrain publishes 88.45. 100 epochs of 5,994 images at 448 px: a job for a GPU.

Resize to 600x600, random crop 448 and flip (test: centre crop); SGD 0.01 with Nesterov momentum; 5 epochs of warm-up by
iteration, then cosine. "8xb8" means 8 devices with 8 images each: on ONE device the batch is 64, and
batch norm takes its statistics over these 64, there over the 8 of a device: ``--bn-batch 8`` does it as there.

Initialised from ImageNet-21k (MIIL) as published. The address is named here: the forks of mmpretrain ship the same config with
another one, and the recipe is to be the same beside both. Without network give the file with --weights.
"""

_base_ = "mmpretrain::resnet/resnet50_8xb8_cub.py"

pretrained = (
    "https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_3rdparty-mill_in21k_20220331-faac000b.pth"
)
weights = pretrained
model = dict(backbone=dict(init_cfg=None), head=dict(type="RegularizedLinearClsHead"))
data_preprocessor = dict(
    _delete_=True,
    type="BatchPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    crop_size=448,
    flip=0.5,
)
train_dataloader = dict(_delete_=True, batch_size=64, dataset=dict(name="cub200", size=600))
val_dataloader = dict(_delete_=True, batch_size=64)
test_dataloader = None
test_evaluator = None
test_cfg = None
train_cfg = dict(_delete_=True, type="DeviceTrainLoop", max_epochs=100, log_interval=10)
optim_wrapper = dict(type="AutocastOptimWrapper")
