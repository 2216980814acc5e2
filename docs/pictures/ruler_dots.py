"""The picture of README.md: python docs/pictures/ruler_dots.py RUN VIDEO, after rulerlab run."""

import sys
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from rulerlab.compare import compare
from rulerlab.compare.figures import plot_shares
from rulerlab.compare.runs import matched_curve
from rulerlab.network.atlas import reference_curves
from rulerlab.plots import plot_heat_map, plot_rig
from rulerlab.store import read_run
from rulerlab.video import Recording


def main(folder: str, video: str) -> None:
    run = read_run(Path(folder))
    recording = Recording(video)
    for _ in recording.frames():
        pass
    curve, lengths = matched_curve(Path(folder))
    found = compare(curve, reference_curves(), lengths=lengths)
    nearest = found.networks[0].cell.curve
    curves = [replace(found.curve, label="this ruler"),
              replace(found.chain.curve, label="nearest simulated chain"),
              replace(nearest, label=f"nearest network ({nearest.label})")]
    figure = Figure(figsize=(12.5, 6.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    plot_rig(run.tracks, left.subplots(), picture=recording.latest.bgr()[..., ::-1],
             frame=len(run.tracks.time_s) - 1)
    upper, lower = right.subplots(2, 1)
    plot_shares(curves, upper)
    plot_heat_map(run.motion, lower)
    figure.savefig(Path(__file__).with_name("ruler_dots.png"), dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
