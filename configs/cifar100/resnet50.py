"""CIFAR-100, ResNet-50, plain cross-entropy: mmpretrain's own resnet50_8xb16_cifar100 on one device.

    python benchmarks/run.py --suite cifar100 --only resnet50

Paper (Tab. 8): 79.90 top-1, the figure that mmpretrain publishes. 200 epochs of 50,000 images; 32x32 ResNet-50 costs about
1.3 GFLOP an image forward: hours on one large GPU, not a job for a CPU.

Network, loss, optimizer, schedule and augmentation are inherited or repeated from the shipped config. "8xb16" means 8 devices
with 16 images each: on ONE device the batch is 128. With 16 and the same learning rate training collapses. One thing differs from
the eight devices: batch norm takes its statistics over all 128 images, there over the 16 of a device. ``--bn-batch 16``, or the
row resnet50_bn16, does it as there.
"""

_base_ = "mmpretrain::resnet/resnet50_8xb16_cifar100.py"

model = dict(head=dict(type="RegularizedLinearClsHead"))
# Same mean and std, same crop and flip as the shipped pipeline, for whole batches on the device.
data_preprocessor = dict(
    _delete_=True,
    type="BatchPreprocessor",
    mean=[129.304, 124.070, 112.434],
    std=[68.170, 65.392, 70.418],
    padding=4,
    flip=0.5,
)
train_dataloader = dict(_delete_=True, batch_size=128, dataset=dict(name="cifar100"))
val_dataloader = dict(_delete_=True, batch_size=500)
test_dataloader = None
test_evaluator = None
test_cfg = None
train_cfg = dict(_delete_=True, type="DeviceTrainLoop", max_epochs=200)
optim_wrapper = dict(type="AutocastOptimWrapper")
