"""Draw the picture of docs/networks.md from the shipped reference curves."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from rulerlab.network.atlas import KNOBS, reference_curves
from rulerlab.network.figures import plot_phase
from rulerlab.plots import LOOK


def main() -> None:
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(15, 8.4), layout="constrained")
        for knob, ax in zip(KNOBS, figure.subplots(2, 2).flat, strict=True):
            plot_phase([cell for cell in reference_curves() if cell.knob == knob], ax)
        figure.savefig(Path(__file__).with_name("networks.png"), dpi=70)


if __name__ == "__main__":
    main()
