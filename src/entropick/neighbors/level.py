"""The rows of a matrix in one precision."""

from __future__ import annotations

from dataclasses import replace

from entropick.arrays import Features, Integers
from entropick.neighbors.precision import Placed, Precision, blocks


class Level:
    """Rows of X in one precision; held on the device, or placed anew whenever they are asked for."""

    def __init__(self, X: Features, rows: Integers, precision: Precision, device: str, *, hold: bool) -> None:
        self.X, self.rows, self.precision, self.device = X, rows, precision, device
        self.scale = precision.frame.scale
        self._held = self._hold() if hold else None

    def _hold(self) -> Placed:
        """All rows, placed in blocks, so that no second copy of them all ever exists."""
        import torch

        n, precision = len(self.rows), self.precision
        held = replace(
            precision.place(self.X[:1], self.device),
            vectors=torch.empty((n, precision.columns(self.X.shape[1])), dtype=precision.dtype, device=self.device),
            norms=torch.empty(n, dtype=torch.float64, device=self.device),
            slack=torch.empty(n, dtype=torch.float64, device=self.device),
        )
        for part in blocks(n, self.X.shape[1]):
            block = self.precision.place(self.X[self.rows[part]], self.device)
            held.vectors[part], held.norms[part], held.slack[part] = block.vectors, block.norms, block.slack
        return held

    def __getitem__(self, positions: Integers) -> Placed:
        import torch

        if self._held is not None:
            return self._held[torch.from_numpy(positions).to(self.device)]
        return self.precision.place(self.X[self.rows[positions]], self.device)

    def block(self, part: slice) -> Placed:
        """Neighbouring positions; not copied where they are held."""
        if self._held is not None:
            return self._held[part]
        return self.precision.place(self.X[self.rows[part]], self.device)
