"""DistilGPT-2's blocks on vectors: GPT-2 without its token embeddings and vocabulary head.

Shape suffixes: B batch, L context length (T places that are read now), D vector dim, H hidden dim, K heads,
P dim of a head.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.attention import Cache, attend
from lvm_lab.nn.blocks import InputProjection, check_divides, check_sizes
from lvm_lab.nn.streaming import step_layers


class DistilGPT2(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for L up to max_positions.

    GPT-2: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; its distilled form: Sanh et al.
    2019, arXiv:1910.01108. Learned positions, pre-norm blocks of attention and a GELU feed-forward layer.

    All but `input` has the parameter names of transformers' GPT2Model without `wte`, matrices transposed as there.

    weights: a folder with model.safetensors or pytorch_model.bin of a GPT-2 of these sizes, whose positions, blocks and
    final norm are taken; DistilGPT-2 itself has width 768, layers 6, heads 12, ff_mult 4 and max_positions 1024. Its
    real weights have not been loaded here, only small ones that transformers wrote in the same form.

    Short contexts: the learned table is counted from the first vector that is read, which always has entry 0.

    dim, context_length: D and the usual L, which must fit max_positions; width: H; ff_mult * width: inner size of the
    feed-forward layer; dropout: on the input and both branches of a block. Raises UserError for sizes below 1, dropout
    outside [0, 1), heads that do not divide width, too few positions, or weights that are missing or do not fit.
    """

    causal: bool = True

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 192,
        layers: int = 3,
        heads: int = 4,
        ff_mult: float = 4.0,
        max_positions: int = 1024,
        weights: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        arch, inner = "distilgpt2", round(ff_mult * width)
        check_sizes(arch, dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes(arch, heads=heads, max_positions=max_positions, **{"ff_mult * width": inner})
        check_divides(arch, "heads", heads, "width", width)
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        self.wpe = nn.Embedding(max_positions, width)
        # Half the input's own scale: GPT-2's .01 would be lost beside it, and with it the order of the context.
        nn.init.normal_(self.wpe.weight, std=0.5)
        self.dropout = nn.Dropout(dropout)
        self.h = nn.ModuleList(_Block(width, inner, heads, layers, dropout) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self._check_length(context_length)
        if weights is not None:
            self._load(Path(weights), heads)

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH = self._embed(x_BLD, 0)
        for block in self.h:
            hidden_BLH = block(hidden_BLH)
        hidden_BLH = self.ln_f(hidden_BLH)
        return hidden_BLH

    def step(self, x_BD: Tensor, state: list[Cache] | None = None) -> tuple[Tensor, list[Cache]]:
        """One more vector; the state is each block's keys and values, and grows up to max_positions."""
        place = 0 if state is None else state[0][0].shape[2]
        hidden_BH, state = step_layers(self.h, self._embed(x_BD[:, None], place)[:, 0], state)
        hidden_BH = self.ln_f(hidden_BH)
        return hidden_BH, state

    def _embed(self, x_BTD: Tensor, first: int) -> Tensor:
        end = first + x_BTD.shape[1]
        self._check_length(end)
        hidden_BTH: Tensor = self.dropout(self.input(x_BTD) + self.wpe.weight[first:end])
        return hidden_BTH

    def _check_length(self, length: int) -> None:
        if length > self.wpe.num_embeddings:
            raise UserError(
                f"distilgpt2: a context of {length} vectors is longer than its max_positions = "
                f"{self.wpe.num_embeddings}; set it to {length} or more, or take arch=transformer, which has no limit."
            )

    def _load(self, folder: Path, heads: int) -> None:
        """The folder's positions, blocks and final norm into this model, and its embeddings' scale into `input`."""
        file, theirs = _read_weights(folder)
        theirs = {key.removeprefix("transformer."): value for key, value in theirs.items()}
        mine = {key: value for key, value in self.state_dict().items() if not key.startswith("input.")}
        sizes = {key: tuple(theirs[key].shape) for key in mine if key in theirs}
        wrong = [key for key, value in mine.items() if sizes.get(key) != tuple(value.shape)]
        wrong += [key for key in theirs if key.startswith(f"h.{len(self.h)}.")]  # a block more than were asked for
        if wrong:
            raise UserError(
                f"distilgpt2: {file} is a GPT-2 of other sizes ({wrong[0]}: {sizes.get(wrong[0], 'no')} here "
                f"{tuple(mine[wrong[0]].shape) if wrong[0] in mine else 'no such layer'}); choose sizes that match "
                "(DistilGPT-2: width 768, layers 6, heads 12, max_positions 1024)."
            )
        _check_config(folder, heads)
        self.load_state_dict({key: theirs[key] for key in mine}, strict=False)
        if "wte.weight" in theirs:
            # The blocks were trained on token embeddings of this scale beside their positions.
            nn.init.constant_(self.input.norm.weight, theirs["wte.weight"].float().std().item())


class _Block(nn.Module):
    def __init__(self, width: int, inner: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads, layers)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = _MLP(width, inner, layers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        out_BLH, _ = self.attn(self.ln_1(hidden_BLH))
        return self._finish(hidden_BLH, out_BLH)

    def step(self, hidden_BH: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        out_B1H, cache = self.attn(self.ln_1(hidden_BH)[:, None], cache)
        return self._finish(hidden_BH, out_B1H[:, 0]), cache

    def _finish(self, hidden_BLH: Tensor, out_BLH: Tensor) -> Tensor:
        hidden_BLH = hidden_BLH + self.dropout(out_BLH)
        hidden_BLH = hidden_BLH + self.dropout(self.mlp(self.ln_2(hidden_BLH)))
        return hidden_BLH


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = _Affine(width, 3 * width)
        self.c_proj = _Affine(width, width, (2 * layers) ** -0.5)

    def forward(self, x_BTH: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        query_BTKP, key_BTKP, value_BTKP = (
            part.unflatten(-1, (self.heads, -1)) for part in self.c_attn(x_BTH).chunk(3, dim=-1)
        )
        attention_BTH, cache = attend(query_BTKP, key_BTKP, value_BTKP, cache)
        out_BTH: Tensor = self.c_proj(attention_BTH)
        return out_BTH, cache


class _MLP(nn.Module):
    def __init__(self, width: int, inner: int, layers: int) -> None:
        super().__init__()
        self.c_fc = _Affine(width, inner)
        self.c_proj = _Affine(inner, width, (2 * layers) ** -0.5)

    def forward(self, x_BLH: Tensor) -> Tensor:
        out_BLH: Tensor = self.c_proj(F.gelu(self.c_fc(x_BLH), approximate="tanh"))
        return out_BLH


class _Affine(nn.Module):
    """x W + b with W stored inputs first, as GPT-2's files have it.

    Starts at 1 / sqrt(inputs) times `scale`: GPT-2's own .02 is meant for width 768 and too small for narrow ones.
    """

    decayed_parameters = ("weight",)

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * (scale / math.sqrt(inputs)))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x_BLH: Tensor) -> Tensor:
        return F.linear(x_BLH, self.weight.t(), self.bias)


def _read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    if not folder.is_dir():
        raise UserError(f"distilgpt2: there is no folder {folder}; set weights to a local one or to null.")
    file = next(
        (folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()), None
    )
    if file is None:
        raise UserError(
            f"distilgpt2: {folder} has neither model.safetensors nor pytorch_model.bin; set weights to a folder "
            "that has one, or to null."
        )
    try:
        if file.suffix == ".bin":
            return file, torch.load(file, map_location="cpu", weights_only=True)
        from safetensors.torch import load_file

        return file, load_file(file)
    except ImportError as error:
        raise UserError(
            f"distilgpt2: reading {file} needs the package safetensors; pip install safetensors, or put "
            "pytorch_model.bin there instead."
        ) from error
    except Exception as error:  # both readers raise nearly anything for a torn file
        raise UserError(
            f"distilgpt2: {file} is damaged or no file of plain tensors; copy it again or set weights to null."
        ) from error


def _check_config(folder: Path, heads: int) -> None:
    """The tensors fit any number of heads; config.json, where there is one, tells it."""
    if not (folder / "config.json").is_file():
        return
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    theirs = config.get("n_head", heads)
    if theirs != heads:
        raise UserError(f"distilgpt2: {folder} was trained with heads = {theirs}, not {heads}; set it to {theirs}.")
