"""A filmed rig with known truth: for tests, for accuracy tables, and for people without a rig."""

from rulerlab.synthetic.film import Film, film, frame_times_s, pictures, truth
from rulerlab.synthetic.scene import Scene

__all__ = ["Film", "Scene", "film", "frame_times_s", "pictures", "truth"]
