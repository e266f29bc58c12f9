//! Learning from spikes: plasticity rules, winner-take-all, and the models made of them.
//!
//! Work grows with spikes: traces are decayed when they are touched, only neurons that fired are
//! potentiated and normalised. Random numbers are a function of (seed, sample, neuron, step)
//! ([`crate::kernels::philox`]), so threads, layouts and chunks change no bit.

pub mod diehl_cook;
