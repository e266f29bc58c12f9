//! The boundary of `spikesim.learn`: a file for each model.

mod checkpoint;
mod conductance;
mod conductance_model;
mod conv;
mod diehl_cook;
mod network;
mod sem;

use pyo3::prelude::*;

/// Add what this module has to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<diehl_cook::DiehlCook>()?;
    module.add_function(wrap_pyfunction!(diehl_cook::poisson_rasters, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::save_arrays, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint::load_arrays, module)?)?;
    module.add_class::<network::Learner>()?;
    module.add_class::<conv::ConvNet>()?;
    module.add_class::<sem::Sem>()?;
    module.add_class::<conductance::Conductance>()?;
    module.add_class::<conductance_model::ConductanceModel>()
}
