"""Film and shake at once: a camera, a shaker, one folder, one clock."""

from rulerlab.capture.camera import open_camera
from rulerlab.capture.recorder import Recorder
from rulerlab.capture.run import record

__all__ = ["Recorder", "open_camera", "record"]
