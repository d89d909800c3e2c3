"""Second stage: re-trains or corrects the classifier of a first stage for balanced test data.

    python longtail/stage2.py --stage1 work_dirs/cifar100_lt/mixup/seed1024
    python longtail/stage2.py --stage1 work_dirs/cifar100_lt/ce/seed1024 --method crt

Data set, imbalance, net and seed are the first stage's, and so is the place of the data unless --data-root names another. MiSLAS
takes 10 epochs of ceil(n / 128) + 1 batches, as its published code does. Give the same command again to go on after an
interruption.
Exit code: 0 done; 1 the run failed; 2 a wrong argument, config, data set or first stage; 3 another process is at this run;
130 interrupted.
"""

from __future__ import annotations

import argparse

from sar_cls import argument_types, cli, exit_codes, messages


def parse() -> argparse.Namespace:
    parser = argument_types.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument_group("what to run").add_argument
    add(
        "--stage1",
        type=argument_types.path,
        required=True,
        metavar="PATH",
        help="folder of a finished first stage, or its last.pth",
    )
    add(
        "--method",
        default="mislas",
        help="mislas, crt, lws, crt_published, lws_published, disalign, tau, logit_adjustment (default: mislas)",
    )
    add(
        "--iterations",
        type=argument_types.iterations,
        metavar="N",
        help="iterations instead of the recipe's, for a segmentation net; the schedule scales, tables mark the run",
    )
    add("--full-epochs", action="store_true", help="an epoch is all that the sampler gives, not the published length")
    cli.add_configs(add)
    cli.add_run_options(parser, second_stage=True)
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    configs = cli.configs(arguments)

    with exit_codes.interruptible():
        from sar_cls.engine import two_stage as longtail
        from sar_cls.engine.shared import check_started
        from sar_cls.launch.attempt import run_or_fail
        from sar_cls.mm.handover import former_data_root
        from sar_cls.runs.record import is_finished

    first = longtail.run_folder(arguments.stage1)
    options = cli.run_options(
        arguments,
        stage2_epochs=arguments.epochs,
        stage2_iterations=arguments.iterations,
        full_epochs=arguments.full_epochs,
    )
    planned = longtail.second_stage_run(configs, arguments.stage1, arguments.method, options, arguments.work_dir)
    check_started([planned])
    if arguments.data_root is None:
        needed = not is_finished(planned.run_dir)
        planned = planned.on(data_root=former_data_root(first, needed=needed, download=arguments.download))
    cli.writable_folder(planned.run_dir)
    messages.result(longtail.summary(run_or_fail(planned), planned.run_dir))
    return 0
