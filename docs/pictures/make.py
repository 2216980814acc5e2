"""Draw the picture of README.md: python docs/pictures/make.py RUN VIDEO (tracked to RUN)."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from rulerlab.plots import plot_heat_map, plot_load_curve, plot_rig
from rulerlab.store import read_run
from rulerlab.video import Recording


def main(folder: str, video: str) -> None:
    run = read_run(Path(folder))
    recording = Recording(video)
    for _ in recording.frames():
        pass
    figure = Figure(figsize=(12.5, 6.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    plot_rig(run.tracks, left.subplots(), picture=recording.latest.bgr()[..., ::-1],
             frame=len(run.tracks.time_s) - 1)
    upper, lower = right.subplots(2, 1)
    plot_load_curve(run.load_curve, upper)
    plot_heat_map(run.motion, lower)
    figure.savefig(Path(__file__).with_name("ruler_dots.png"), dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
