//! Diehl and Cook, "Unsupervised learning of digit recognition using spike-timing-dependent
//! plasticity", Frontiers in Computational Neuroscience 9:99, 2015.

pub mod conductance;
pub mod conductance_params;
mod conductance_plasticity;
