//! `_core.Conductance`: Diehl and Cook's network with conductances.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rayon::prelude::*;
use spikesim_core::Error;
use spikesim_core::kernels::level::Level;
use spikesim_core::learn::diehl_cook::conductance::{Conductance as Net, Spikes};
use spikesim_core::learn::diehl_cook::conductance_params::ConductanceParams;
use spikesim_core::runtime::workers::Workers;

use crate::error::{attached, detached};

/// Samples of a frozen network between two looks at signals, for each thread.
const CHUNK: usize = 16;

/// Two populations with conductances, their plastic weights, and where they are.
#[pyclass(frozen, module = "spikesim._core")]
pub struct Conductance {
    net: Mutex<Net>,
    workers: Mutex<Workers>,
}

type Floats<'py> = Bound<'py, PyArray2<f32>>;

impl Conductance {
    fn with<T>(&self, f: impl FnOnce(&mut Net) -> T) -> T {
        f(&mut self.net.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Conductance {
    #[new]
    #[pyo3(signature = (weights, theta, params, level=None))]
    fn new(
        py: Python<'_>,
        weights: PyReadonlyArray2<'_, f32>,
        theta: PyReadonlyArray1<'_, f32>,
        params: BTreeMap<String, f64>,
        level: Option<&str>,
    ) -> PyResult<Self> {
        let net = attached(py, || {
            let params = ConductanceParams::with(&params)?;
            let level = Level::chosen(level)?;
            let (weights, theta) = (weights.as_array(), theta.as_array());
            let n_inputs = weights.nrows();
            let weights: Vec<f32> = weights.iter().copied().collect();
            let theta: Vec<f32> = theta.iter().copied().collect();
            Net::new(&params, n_inputs, &weights, &theta, level)
        })?;
        Ok(Self { net: Mutex::new(net), workers: Mutex::new(Workers::default()) })
    }

    /// `(n_inputs, n)`, a copy.
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Floats<'py>> {
        let (values, shape) = self.with(|net| (net.weights(), [net.inputs(), net.neurons()]));
        PyArray1::from_vec(py, values).reshape(shape)
    }

    fn theta<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_vec(py, self.with(|net| net.theta()))
    }

    fn normalize(&self, all: bool) {
        self.with(|net| net.normalize(all));
    }

    /// Go on for `len(offsets) - 1` steps.
    fn run<'py>(
        &self,
        py: Python<'py>,
        offsets: PyReadonlyArray1<'_, u32>,
        indices: PyReadonlyArray1<'_, u32>,
        learn: bool,
        record: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let offsets = offsets.as_array().to_vec();
        let indices = indices.as_array().to_vec();
        let activity = detached(py, || {
            self.with(|net| {
                let spikes = Spikes::new(&offsets, &indices, net.inputs())?;
                Ok(net.run(&spikes, learn, record))
            })
        })?;
        let out = PyDict::new(py);
        out.set_item("counts", PyArray1::from_vec(py, activity.counts))?;
        if record {
            let flat: Vec<u32> = activity.spikes.iter().flat_map(|&(t, j)| [t, j]).collect();
            let shape = [activity.spikes.len(), 2];
            out.set_item("spikes", PyArray1::from_vec(py, flat).reshape(shape)?)?;
        }
        out.set_item("inputs", activity.inputs)?;
        out.set_item("inhibitory", activity.inhibitory)?;
        out.set_item("updates", activity.updates)?;
        Ok(out)
    }

    /// Counts `(samples, n)` of samples of `steps` steps each, everything frozen.
    fn respond<'py>(
        &self,
        py: Python<'py>,
        offsets: PyReadonlyArray1<'_, u32>,
        indices: PyReadonlyArray1<'_, u32>,
        steps: usize,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<u32>>> {
        let offsets = offsets.as_array().to_vec();
        let indices = indices.as_array().to_vec();
        let pool = attached(py, || {
            if steps == 0 || !(offsets.len() - 1).is_multiple_of(steps) {
                return Err(Error::input("spikes", "offsets are not whole samples".to_string()));
            }
            self.workers.lock().unwrap_or_else(PoisonError::into_inner).pool(threads)
        })?;
        let samples: Vec<usize> = (0..(offsets.len() - 1) / steps).collect();
        let mut counts = Vec::new();
        for chunk in samples.chunks(CHUNK * threads.max(1)) {
            py.check_signals()?;
            let some = detached(py, || {
                self.with(|net| {
                    let net = &*net;
                    pool.install(|| {
                        chunk
                            .par_iter()
                            .map(|s| {
                                let part = &offsets[s * steps..=(s + 1) * steps];
                                let from = part[0] as usize..part[steps] as usize;
                                let part: Vec<u32> = part.iter().map(|o| o - part[0]).collect();
                                let indices = indices.get(from).unwrap_or_default();
                                let spikes = Spikes::new(&part, indices, net.inputs())?;
                                Ok(net.respond(&spikes).counts)
                            })
                            .collect::<Result<Vec<_>, Error>>()
                    })
                })
            })?;
            counts.extend(some.concat());
        }
        let shape = [samples.len(), self.with(|net| net.neurons())];
        PyArray1::from_vec(py, counts).reshape(shape)
    }

    /// The state `(7, n)`, last spikes of inputs and of neurons, and the step, for a checkpoint.
    #[allow(clippy::type_complexity)]
    fn state<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Floats<'py>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, u64)> {
        let (state, (inputs, neurons), step, n) =
            self.with(|net| (net.state(), net.last_spikes(), net.step(), net.neurons()));
        Ok((
            PyArray1::from_vec(py, state).reshape([7, n])?,
            PyArray1::from_vec(py, inputs),
            PyArray1::from_vec(py, neurons),
            step,
        ))
    }

    /// Go on from what `state` gave.
    fn restore(
        &self,
        py: Python<'_>,
        state: PyReadonlyArray2<'_, f32>,
        inputs: PyReadonlyArray1<'_, i64>,
        neurons: PyReadonlyArray1<'_, i64>,
        step: u64,
    ) -> PyResult<()> {
        let state: Vec<f32> = state.as_array().iter().copied().collect();
        let (inputs, neurons) = (inputs.as_array().to_vec(), neurons.as_array().to_vec());
        attached(py, || self.with(|net| net.restore(&state, (&inputs, &neurons), step)))
    }
}
