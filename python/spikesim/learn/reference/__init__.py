"""Plain NumPy twins of what `spikesim.learn` computes: its meaning, never optimised."""
