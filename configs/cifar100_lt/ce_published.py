"""CIFAR-100-LT, imbalance 100: plain cross-entropy by the recipe of LDAM's published program (Cao et al. 2019).

    python benchmarks/run.py --suite cifar100_lt --only ce_published ldam_drw_published
    python longtail/stage1.py --method ce_published

The baseline of the rows "as published". The paper has no figure for it. Beside ce.py the learning rate falls to a hundredth after
epoch 160 and to a ten-thousandth after 180 (0.1, 0.001, 0.00001); 5 epochs of warm-up, 200 epochs, batch 128, weight decay
2e-4, subset, net, augmentation and normalisation are the same in both programs. LDAM's figures are of the best test epoch.
"""

_base_ = "./ce.py"

param_scheduler = [
    dict(type="LinearLR", start_factor=0.2, by_epoch=True, begin=0, end=5),
    dict(type="MultiStepLR", milestones=[160, 180], gamma=0.01, by_epoch=True),
]
