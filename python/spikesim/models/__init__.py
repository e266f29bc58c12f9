"""Network architectures as torch modules, ready for `spikesim.from_torch`."""

from spikesim.models.calibrate import calibrate_rate
from spikesim.models.tiny_yolo import tiny_yolo
from spikesim.models.vgg import vgg16

__all__ = ["calibrate_rate", "tiny_yolo", "vgg16"]
