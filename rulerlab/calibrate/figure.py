"""A picture of a calibration: where the board was seen, and what the fit leaves over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from rulerlab.calibrate.judge import coverage
from rulerlab.calibrate.lens import names
from rulerlab.calibrate.solve import Calibrated

ARROW_SHARE = 0.04  # of the picture's width: length of an arrow of three times the RMS residual


def draw_calibration(calibrated: Calibrated, path: Path) -> None:
    """Write coverage, residuals and the error of each view to a .svg or .png file."""
    fit = calibrated.fit
    figure = Figure(figsize=(11, 7.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1), height_ratios=(2, 1))
    _coverage(figure.add_subplot(grid[0, 0]), calibrated)
    _scatter(figure.add_subplot(grid[0, 1]), np.concatenate(fit.residuals()), fit.error_px())
    _views(figure.add_subplot(grid[1, :]), calibrated)
    canvas = FigureCanvasSVG if path.suffix.lower() == ".svg" else FigureCanvasAgg
    canvas(figure).print_figure(path, dpi=110)


def _coverage(axes, calibrated: Calibrated) -> None:
    fit = calibrated.fit
    width, height = fit.size_px
    error = fit.error_px()
    corners = np.concatenate([view.corners_px for view in fit.views])
    residual = np.concatenate(fit.residuals())
    size = np.hypot(*residual.T)
    zoom = ARROW_SHARE * width / (3 * error)
    arrows = axes.quiver(
        *corners.T, *(residual.T * zoom), size, angles="xy", scale_units="xy", scale=1,
        cmap="viridis", clim=(0, 3 * error), width=0.0022,
    )
    axes.figure.colorbar(arrows, ax=axes, label="residual, px", shrink=0.85)
    axes.set(
        xlim=(0, width), ylim=(height, 0), aspect="equal", xlabel="x, px", ylabel="y, px",
        title=f"{len(corners)} corners in {len(fit.views)} views cover "
        f"{100 * coverage(fit):.0f} % of the picture\n(arrows {zoom:.0f} times enlarged)",
    )


def _scatter(axes, residual: np.ndarray, error: float) -> None:
    axes.plot(*residual.T, ".", markersize=2, alpha=0.5, color="tab:blue")
    reach = max(4 * error, 1.05 * float(np.abs(residual).max()))
    axes.set(
        xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal",
        xlabel="x residual, px", ylabel="y residual, px", title=f"RMS {error:.3f} px",
    )
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)


def _views(axes, calibrated: Calibrated) -> None:
    fit, sigma = calibrated.fit, np.sqrt(np.diag(calibrated.spread.covariance))
    errors = fit.view_error_px()
    axes.bar(np.arange(len(errors)), errors, color="tab:blue", width=0.7)
    axes.set_xticks(
        np.arange(len(errors)), [view.name for view in fit.views], rotation=35, ha="right",
        fontsize=7,
    )
    numbers = ", ".join(
        f"{name} {value:.1f} ± {spread:.1f}"
        for name, value, spread in list(
            zip(names(fit.model), fit.parameters, sigma, strict=True)
        )[:4]
    )
    axes.set(ylabel="RMS residual, px", title=f"{fit.model} lens: {numbers} px")
