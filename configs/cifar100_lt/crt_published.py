"""Classifier re-training (cRT) with the settings of Kang et al. 2020: a new classifier on the backbone of a first stage.

    python benchmarks/run.py --suite cifar100_lt --only ce crt_published
    python longtail/stage2.py --stage1 RUN --method crt_published

No figure in the paper, and none in theirs: Kang et al. have no CIFAR. Of their ImageNet-LT recipe: SGD 0.2 with momentum 0.9 and
weight decay 5e-4 at a batch of 512, cosine to 0 over 10 epochs; class-aware sampling, 4 images of a class at a time, which their
program leaves after as many full batches as the training images would fill (21 here); the backbone gets no gradient but its
batch norms stay in training mode, since their program switches the whole net to it. Not certain: that one learning rate fits a net
of 64 features; the new classifier starts as that of ce.py does.
"""

_base_ = "./ce.py"

model = dict(type="SecondStageClassifier", hold="shifted_bn")
continue_classifier = False
train_dataloader = dict(
    batch_size=512, sampler=dict(type="ClassAware", samples_per_class=4), batches_per_epoch="one_pass"
)
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=5e-4))
param_scheduler = dict(_delete_=True, type="CosineAnnealingLR", T_max=10, by_epoch=True)
