"""Second stage: re-trains or corrects the classifier of a first stage for balanced test data.

    python longtail/stage2.py --stage1 work_dirs/cifar100_lt/mixup/seed1024
    python longtail/stage2.py --stage1 work_dirs/cifar100_lt/ce/seed1024 --method crt

Data set, imbalance, net and seed are the first stage's. MiSLAS takes 10 epochs of ceil(n / 128) + 1 batches, as its published
code does. Give the same command again to go on after an interruption.
Exit code: 0 done; 1 another process is at this run; 2 a wrong argument, config, data set or first stage; 130 interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sar_cls import cli


def parse() -> argparse.Namespace:
    parser = cli.Parser(prog="stage2.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument_group("what to run").add_argument
    add("--stage1", type=Path, required=True, metavar="PATH", help="folder of a finished first stage, or its last.pth")
    add(
        "--method",
        default="mislas",
        help="mislas, crt, lws, crt_published, lws_published, tau, logit_adjustment (default: mislas)",
    )
    add("--full-epochs", action="store_true", help="an epoch is all that the sampler gives, not the published length")
    cli.add_run_options(parser, second_stage=True)
    return parser.parse_args()


def main() -> int:
    arguments = parse()

    from sar_cls.mm import longtail
    from sar_cls.mm.engine import run

    options = cli.run_options(arguments, stage2_epochs=arguments.epochs, full_epochs=arguments.full_epochs)
    job, options = longtail.second_stage_job(
        cli.CONFIGS, arguments.stage1, arguments.method, options, arguments.work_dir
    )
    cli.writable_folder(job.run_dir)
    print(longtail.summary(run(job, options), job.run_dir))
    return 0


if __name__ == "__main__":
    cli.main_with_exit_code(main)
