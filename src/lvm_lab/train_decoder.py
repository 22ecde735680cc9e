"""Train vec2text's models further on a store's texts: `lvm-lab train-decoder STORE OUT`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lvm_lab.commands import plain
from lvm_lab.config.decoder_training import DecoderTraining


def main(argv: Sequence[str] | None = None) -> int:
    own = DecoderTraining(Path(), Path())
    parser = plain.parser("train_decoder", "Train vec2text's models further on a store's texts.", "docs/decoders.md")
    parser.add_argument("store", type=Path, metavar="STORE", help="a store of texts, of the encoder that they decode")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that is made, with inversion/ and corrector/")
    parser.add_argument("--inversion", default=own.inversion, metavar="MODEL", help="a folder, or a name")
    parser.add_argument("--corrector", default=own.corrector, metavar="MODEL", help="the same; none: leave it out")
    parser.add_argument("--epochs", type=float, default=own.epochs, metavar="N", help=f"of each model ({own.epochs})")
    parser.add_argument("--learning-rate", type=float, default=own.learning_rate, metavar="X", help="of AdamW")
    parser.add_argument("--batch-size", type=int, default=own.batch_size, metavar="N", help="texts at once")
    parser.add_argument("--max-tokens", type=int, default=own.max_tokens, metavar="N", help="texts are cut there")
    parser.add_argument("--held-out", type=float, default=own.held_out, metavar="SHARE", help="for the loss alone")
    parser.add_argument("--seed", type=int, default=own.seed, metavar="N")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default=own.device)
    args = parser.parse_args(argv)

    def body() -> None:
        from lvm_lab.jobs.decoder_training import train_decoder

        for line in train_decoder(DecoderTraining(**vars(args))).lines():
            print(line)

    return plain.answer(body, writes=args.out)


if __name__ == "__main__":
    sys.exit(main())
