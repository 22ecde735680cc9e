"""The normaliser: vectors of an encoder's scale to the standardised ones that a model computes with, and back.

Shape suffixes: D vector dim; any leading shape.
"""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.types import Stats


class Normaliser(nn.Module):
    """z = ((x - centre) @ basis) / scale and back; its numbers travel in the checkpoint.

    Centre, scale and basis are the input normaliser's where there is one, else mean and std of the training part.
    """

    centre_D: Tensor
    scale_D: Tensor
    basis_DD: Tensor | None

    def __init__(self, stats: Stats) -> None:
        super().__init__()
        plain = stats.centre_D is None or stats.scale_D is None
        self.register_buffer("centre_D", (stats.mean_D if plain else stats.centre_D).clone())  # type: ignore[union-attr]
        self.register_buffer("scale_D", (stats.std_D if plain else stats.scale_D).clone())  # type: ignore[union-attr]
        self.register_buffer("basis_DD", None if plain or stats.basis_DD is None else stats.basis_DD.clone())

    def forward(self, x_D: Tensor) -> Tensor:
        """Vectors to standardised ones."""
        return self.scale(x_D - self.centre_D)

    def scale(self, difference_D: Tensor) -> Tensor:
        """Differences of vectors to standardised ones."""
        if self.basis_DD is not None:
            difference_D = difference_D @ self.basis_DD
        return difference_D / self.scale_D

    def unscale(self, z_D: Tensor) -> Tensor:
        """Standardised vectors to differences from the centre."""
        z_D = z_D * self.scale_D
        return z_D if self.basis_DD is None else z_D @ self.basis_DD.mT
