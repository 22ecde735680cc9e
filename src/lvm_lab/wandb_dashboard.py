"""W&B's page of comparison for mirrored runs: `lvm-lab wandb-dashboard --project P`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lvm_lab.commands import plain
from lvm_lab.config.loggers import PROJECT


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser(
        "wandb_dashboard",
        "Make a saved view in a W&B project that compares the runs mirrored there (needs an account).",
    )
    parser.add_argument("--project", default=PROJECT, help="default: %(default)s")
    parser.add_argument("--entity", help="the user or team that owns the project; default: the account's own")
    parser.add_argument("--group", help="the sweep whose runs are shown; default: all runs of the project")
    args = parser.parse_args(argv)

    def body() -> None:
        from lvm_lab.loggers.dashboard import create

        print(create(args.project, args.entity, args.group))

    return plain.answer(body)


if __name__ == "__main__":
    sys.exit(main())
