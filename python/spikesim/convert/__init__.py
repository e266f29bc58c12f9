"""Networks from other libraries' models.

`from_torch` reads torch modules: torch.nn layers with the neurons of `spikesim.train`,
SpikingJelly, snnTorch, Norse or Sinabs; `load_snntorch_state` fills snnTorch 1.0 models from state
dicts of 0.8. torch is imported when they are called, the other libraries never: a module of theirs
brings them along.
"""

from spikesim.convert.torch_module import from_torch, load_snntorch_state

__all__ = ["from_torch", "load_snntorch_state"]
