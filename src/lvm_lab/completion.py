"""What a shell offers behind <TAB>: `eval "$(lvm-lab completion bash)"`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lvm_lab.commands import completing, plain


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("completion", "Prints what a shell evaluates to complete lvm-lab and its kin.")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that completes")
    parser.add_argument("--line", help="what the shell asks: the line up to the cursor; a reply a line")
    parser.add_argument("--breaks", default="", help="characters at which the shell begins a new word")
    args = parser.parse_args(argv)

    def body() -> None:
        if args.line is None:
            print(completing.script(args.shell))
            return
        for reply in completing.replies(args.line, args.shell, args.breaks):
            print(reply)

    return plain.answer(body)


if __name__ == "__main__":
    sys.exit(main())
