"""Network architectures as torch modules, ready for `spikesim.from_torch` or `spikesim.convert`.

Each is built with neurons or with the activations of an ANN; all of them are modules, none is a
function. `save` and `load` keep trained ones in files.
"""

from spikesim.models.calibrate import calibrate_rate
from spikesim.models.files import load, save
from spikesim.models.resnet import resnet8, resnet18, resnet20, resnet34
from spikesim.models.small import lenet, mnist_net
from spikesim.models.tiny_yolo import tiny_yolo
from spikesim.models.vgg import vgg11, vgg16

__all__ = [
    "calibrate_rate",
    "lenet",
    "load",
    "mnist_net",
    "resnet8",
    "resnet18",
    "resnet20",
    "resnet34",
    "save",
    "tiny_yolo",
    "vgg11",
    "vgg16",
]
