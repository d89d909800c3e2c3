"""The second stage of MiSLAS on CIFAR-10-LT, with its published settings for imbalance 100.

    python benchmarks/run.py --suite cifar10_lt --only mixup mixup_mislas
    python longtail/stage2.py --stage1 RUN --method mislas

The paper has no such table. Beside CIFAR-100-LT: smoothing 0.3 (head) and 0 (tail), the classifier at half of the scaling
vector's learning rate, and no shifted batch norm: the backbone stands still, in evaluation mode. Those of imbalance 50 and 10:
sar_cls/engine/mislas.py.
"""

_base_ = "../cifar100_lt/mislas.py"

model = dict(hold="frozen", head=dict(num_classes=10, loss=dict(smooth_head=0.3, smooth_tail=0.0)))
train_dataloader = dict(dataset=dict(name="cifar10"))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"head.fc.weight": dict(lr_mult=0.5), "head.fc.bias": dict(lr_mult=0.5)})
)
