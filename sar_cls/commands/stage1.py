"""First stage on a long-tailed data set: trains the representation.

    python longtail/stage1.py --method mixup
    python longtail/stage1.py --method sar --imbalance 50 --seed 1024
    python longtail/stage1.py --dataset folder --data-root IMAGES      # a natural tail, as it is

The full recipe of the paper's Tab. 10 by default (200 epochs). Give the same command again to go on after an interruption.
Exit code: 0 done; 1 the run failed; 2 a wrong argument, config or data set; 3 another process is at this run; 130 interrupted.
"""

from __future__ import annotations

import argparse

from sar_cls import argument_types, cli, exit_codes, messages
from sar_cls.suites.seeds import PAPER_SEEDS


def parse() -> argparse.Namespace:
    parser = argument_types.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument_group("what to run").add_argument
    add(
        "--method",
        default="mixup",
        help="ce, mixup, car, sar, sar_per_class, cb, focal, ldam_drw, ... (default: mixup)",
    )
    add("--dataset", default="cifar100", choices=["cifar100", "cifar10", "digits", "folder"], help="default: cifar100")
    add(
        "--imbalance",
        type=argument_types.imbalance,
        metavar="IF",
        help="images of the largest class over the smallest; none takes all images, with the tail they have (default: the "
        "config's, 100 but for digits; none for a folder)",
    )
    add(
        "--seed",
        type=argument_types.seed,
        metavar="S",
        default=PAPER_SEEDS[0],
        help=f"default: {PAPER_SEEDS[0]}, the paper's first",
    )
    cli.add_configs(add)
    cli.add_run_options(parser)
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    configs = cli.configs(arguments)
    work_dir = cli.writable_folder(arguments.work_dir)

    with exit_codes.interruptible():
        from sar_cls.engine import two_stage as longtail
        from sar_cls.engine.shared import check_started
        from sar_cls.launch.attempt import run_or_fail

    options = cli.run_options(arguments, imbalance=arguments.imbalance, epochs=arguments.epochs)
    planned = longtail.first_stage_run(configs, arguments.dataset, arguments.method, arguments.seed, options, work_dir)
    check_started([planned])
    messages.result(longtail.summary(run_or_fail(planned), planned.run_dir))
    return 0
