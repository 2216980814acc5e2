"""Loss curves of trained networks, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rulerlab.palette import ACCENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rulerlab.network.train import Trained


def loss_table(nets: Sequence[Trained]) -> str:
    """CSV with one row per epoch and one column per seed; empty where training had ended."""
    head = ["epoch", *(f"loss_{net.recipe.seed}" for net in nets)]
    lines = [",".join(head)]
    for epoch in range(max((len(net.losses) for net in nets), default=0)):
        cells = [f"{net.losses[epoch]:.7g}" if epoch < len(net.losses) else "" for net in nets]
        lines.append(",".join([str(epoch + 1), *cells]))
    return "\n".join(lines) + "\n"


def plot_losses(nets: Sequence[Trained], ax: Axes) -> None:
    """Mean training loss of each epoch, one line per network."""
    for net in nets:
        epochs = range(1, len(net.losses) + 1)
        ax.plot(epochs, net.losses, color=ACCENT, lw=1.2, alpha=max(0.4, 1 / len(nets)),
                marker="o" if len(net.losses) == 1 else None)  # fmt: skip
    if all((net.losses > 0).all() for net in nets):
        ax.set_yscale("log")
    recipe = nets[0].recipe
    accuracy = sum(net.accuracy for net in nets) / len(nets)
    ax.set(xlabel="epoch", ylabel=f"training loss ({recipe.loss.replace('mse', 'mean square')})",
           title=f"{len(nets)} network{'s' * (len(nets) > 1)}, "
                 f"{accuracy:.1f} % of the test samples right")  # fmt: skip
