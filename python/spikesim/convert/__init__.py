"""Networks from other libraries' models.

`from_torch` reads torch modules: torch.nn layers with the neurons of `spikesim.train`,
SpikingJelly or snnTorch. torch is imported when it is called, the other libraries never: a
module of theirs brings them along.
"""

from spikesim.convert.torch_module import from_torch

__all__ = ["from_torch"]
