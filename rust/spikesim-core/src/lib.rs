//! spikesim-core: spiking networks as graphs, plans and event-driven runs, without Python.
//!
//! A module imports only what stands left of it:
//! `error → graph, kernels → formats, plan → step → learn → runtime`.

pub mod error;
pub mod formats;
pub mod graph;
pub mod kernels;
pub mod learn;
pub mod plan;
pub mod runtime;
pub mod step;

pub use error::{Error, Result};
