"""Run folders as `track` leaves them, made from numbers: what the report tests look at."""

import numpy as np

from rulerlab import plots, report, store
from rulerlab.records import DETECTED, LoadCurve, Motion, Tracks

FIT = {
    "law": "chain", "valid": True, "message": "friction explains the motion",
    "parameters": {
        "friction_right_over_k": {"value": 0.08561, "sigma": 0.00083, "low95": 0.0843,
                                  "high95": 0.0873, "unit": "1", "bound": ""},
        "damping": {"value": 0.2, "sigma": None, "low95": 0.1, "high95": 0.3456,
                    "unit": "N s/m", "bound": "upper"},
        "noise_over_k": {"value": 0.1, "sigma": None, "low95": 0.0, "high95": 0.4, "unit": "1",
                         "bound": "ridge"},
    },
    "chi2": 43.2, "degrees_of_freedom": 40, "criterion": {"chain": 0.0, "viscous": 12.3},
    "tests": {"memory": 0.41},
}
COMPARISON = {
    "statements": ["concave: the load sits near the pulled end", "like a chain with friction 0.26"],
    "nearest_chain": {"friction_over_k": 0.257, "noise_over_k": 0.017,
                      "distance": {"rms": 0.0237}, "accepted": True,
                      "region": {"friction_over_k": [0.13, 0.51], "noise_over_k": [0.0, 0.1]}},
    "nearest_network": {"knob": "dropout", "value": 0.08, "alpha": 0.0, "accepted": False,
                        "distance": {"rms": 0.15, "rms_sigma": 0.04}, "region": []},
}


def pulled(*, seed=0, friction=6.0, frames=90, sections=7, duration_s=3.0, sigma=0.05,
           seen_again=0):
    """(time, joints along the pull in mm) of a hand-pulled ruler that opens from the hand.

    The hand's own unrest comes from `seed`; `seen_again` only changes the tracking errors.
    """
    rng = np.random.default_rng(seed)
    time_s = np.linspace(0, duration_s, frames)
    hand = np.clip((time_s - 0.2 * duration_s) / (0.6 * duration_s), 0, 1)
    hand = (hand**2 * (3 - 2 * hand)) ** rng.uniform(0.8, 1.25)  # no two hands pull alike
    loads = np.maximum(120 - friction * np.arange(sections)[::-1] ** 1.5, 0)
    loads *= rng.uniform(0.98, 1.02, sections)
    extension = 8.0 + hand[:, None] * loads
    joint = np.concatenate([np.zeros((frames, 1)), np.cumsum(extension, axis=1)], axis=1)
    again = np.random.default_rng([seed, seen_again])
    return time_s, joint + again.normal(scale=sigma, size=joint.shape)


def run_folder(folder, *, name="pull.mp4", digest="", warnings=(), quality=(), fitted=True,
               figures=True, **motion):
    """Write a run folder of a pulled ruler."""
    time_s, x = pulled(**motion)
    sigma = motion.get("sigma", 0.05)
    joint = np.stack([x, np.where(np.arange(x.shape[1]) % 2, 50.0, 0.0) + 0 * x], axis=-1)
    covariance = np.tile(sigma**2 * np.eye(2), (*x.shape, 1, 1))
    shared = 0.001 * joint[..., None]
    status = np.full(x.shape, DETECTED)
    tracks = Tracks(time_s, 100 + joint * [1.5, -1.5], 2.25 * covariance, status)
    moved = Motion(time_s, joint, covariance, shared, status)
    loads = np.diff(x[-1] - x[0])
    own = np.diff(np.eye(len(loads) + 1), axis=0)
    errors = 2 * sigma**2 * own @ own.T + 1e-6 * np.outer(loads, loads)
    curve = LoadCurve.from_loads(loads, errors, "ruler")
    folder.mkdir(parents=True)
    store.write_tracks_csv(folder / "tracks.csv", tracks)
    store.write_netcdf(folder / "tracks.nc", tracks, moved, source_file=name, individual="ruler")
    store.write_load_curve(folder, curve)
    store.write_run_json(folder, {
        "kind": "ruler", "marks": "dots", "points": x.shape[1], "frames": len(time_s),
        "unit": "mm", "share_detected": np.ones(x.shape[1]), "share_lost": np.zeros(x.shape[1]),
        "sigma_px": 1.5 * sigma, "warnings": list(warnings), "quality": list(quality),
        "inputs": [{"path": name, "sha256": digest or f"{name}-{motion}"}],
        "versions": {"numpy": np.__version__}, "command": ["rulerlab", "track", name],
        "written": "2026-01-01T00:00:00+00:00",
        "rig": {"kind": "ruler", "reference": {"crosses_mm": [[0, 0], [1, 0], [1, 1], [0, 1]]}},
        "pull": {"onset_s": float(time_s[18]), "end_s": float(time_s[72]),
                 "travel": float(loads.sum()), "unit": "mm"},
        "load_curve": {"unit": "section", "quantity": "mm", "loads": curve.loads,
                       "sigma": np.sqrt(np.diag(curve.load_covariance))}
        | store.shape_numbers(curve),
        "health": {"duplicates": [], "ghosts": [4], "error_scale": 3.1},
    })
    if fitted:
        (folder / "fit.json").write_text(store.json_text(FIT))
        (folder / "comparison.json").write_text(store.json_text(COMPARISON))
    if figures:
        plots.write_plots(folder / "plots", tracks, moved, curve)
        report.write_frame(folder, np.full((720, 1280, 3), 180, np.uint8))
    return folder
