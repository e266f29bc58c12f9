"""Plain NumPy twins of every model and rule of `spikesim.learn`: the meaning of the engine."""
