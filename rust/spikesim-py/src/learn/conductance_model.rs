//! `_core.ConductanceModel`: the engine of `spikesim.learn.DiehlCook(model="conductance")`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use spikesim_core::kernels::level::Level;
use spikesim_core::learn::diehl_cook::conductance_model::ConductanceModel as Core;

use super::samples::{Collected, Copied, Pools, Spikes, Tuple, arrays, counts_of, misread, tuple};
use crate::error::{attached, caught, detached};

/// The network; what it has learned.
#[pyclass(frozen, module = "spikesim._core")]
pub struct ConductanceModel {
    inner: Mutex<(Core, Pools)>,
}

type State<'py> =
    (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, u64);

impl ConductanceModel {
    fn lock(&self) -> MutexGuard<'_, (Core, Pools)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl ConductanceModel {
    #[new]
    #[pyo3(signature = (config, level=None))]
    fn new(py: Python<'_>, config: &str, level: Option<&str>) -> PyResult<Self> {
        let core = detached(py, || {
            Core::new(serde_json::from_str(config).map_err(misread)?, Level::chosen(level)?)
        })?;
        Ok(Self { inner: Mutex::new((core, Pools::default())) })
    }

    #[getter]
    fn seen(&self) -> u64 {
        self.lock().0.seen()
    }

    #[getter]
    fn counts(&self) -> Tuple {
        tuple(self.lock().0.counts())
    }

    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let guard = self.lock();
        let net = guard.0.net();
        PyArray1::from_vec(py, net.weights()).reshape([net.inputs(), net.neurons()])
    }

    fn theta<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_vec(py, self.lock().0.net().theta())
    }

    /// The state `(7, n)`, last spikes of inputs and of neurons, and the step.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<State<'py>> {
        let guard = self.lock();
        let net = guard.0.net();
        let (inputs, neurons) = net.last_spikes();
        Ok((
            PyArray1::from_vec(py, net.state()).reshape([7, net.neurons()])?,
            PyArray1::from_vec(py, inputs),
            PyArray1::from_vec(py, neurons),
            net.step(),
        ))
    }

    fn restore(
        &self,
        py: Python<'_>,
        weights: PyReadonlyArray2<'_, f32>,
        theta: PyReadonlyArray1<'_, f32>,
        seen: u64,
        counts: Tuple,
    ) -> PyResult<()> {
        let counts = counts_of(counts);
        let weights: Vec<f32> = weights.as_array().iter().copied().collect();
        let theta = theta.as_array().to_vec();
        attached(py, || self.lock().0.restore(&weights, &theta, seen, counts))
    }

    fn restore_state(
        &self,
        py: Python<'_>,
        state: PyReadonlyArray2<'_, f32>,
        inputs: PyReadonlyArray1<'_, i64>,
        neurons: PyReadonlyArray1<'_, i64>,
        step: u64,
    ) -> PyResult<()> {
        let state: Vec<f32> = state.as_array().iter().copied().collect();
        let (inputs, neurons) = (inputs.as_array().to_vec(), neurons.as_array().to_vec());
        attached(py, || self.lock().0.restore_state(&state, (&inputs, &neurons), step))
    }

    /// As `DiehlCook.train`; there are no batches.
    #[pyo3(signature = (x, factors, batch, threads))]
    fn train<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        factors: PyReadonlyArray1<'py, f32>,
        batch: bool,
        threads: usize,
    ) -> PyResult<Spikes<'py>> {
        let _ = (batch, threads);
        let x = Copied::new(py, x)?;
        let factors = factors.as_array().to_vec();
        let (counts, all) = detached(py, || {
            let mut guard = self.lock();
            let mut all = Collected::default();
            guard.0.train(x.samples(), &factors, |s| all.push(s))?;
            Ok((guard.0.counts(), all))
        })?;
        Ok(arrays(py, counts, all))
    }

    /// As `DiehlCook.respond`.
    fn respond<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        threads: usize,
    ) -> PyResult<Spikes<'py>> {
        let x = Copied::new(py, x)?;
        let answers = detached(py, || {
            let mut guard = self.lock();
            let (core, workers) = &mut *guard;
            let pool = workers.entry(threads).or_default().pool(threads)?;
            pool.install(|| caught(|| core.respond(x.samples())))
        })?;
        let (counts, all) = Collected::of(&answers);
        Ok(arrays(py, counts, all))
    }
}
