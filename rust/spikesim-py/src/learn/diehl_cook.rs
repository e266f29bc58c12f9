//! `_core.DiehlCook`: the network that `spikesim.learn.DiehlCook` is the face of. Its calls take
//! some samples at a time: Python looks for Ctrl-C between them, so whole samples are kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use spikesim_core::Error;
use spikesim_core::kernels::level::Level;
use spikesim_core::learn::diehl_cook::{DiehlCook as Core, rasters};

use super::samples::{Collected, Copied, Pools, Spikes, Tuple, arrays, counts_of, misread, tuple};
use crate::error::{attached, caught, detached, to_py};

/// The network; what it has learned.
#[pyclass(frozen, module = "spikesim._core")]
pub struct DiehlCook {
    inner: Mutex<(Core, Pools)>,
    level: Level,
}

impl DiehlCook {
    fn lock(&self) -> MutexGuard<'_, (Core, Pools)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl DiehlCook {
    #[new]
    #[pyo3(signature = (config, level=None))]
    fn new(py: Python<'_>, config: &str, level: Option<&str>) -> PyResult<Self> {
        let level = attached(py, || Level::chosen(level))?;
        let core =
            detached(py, || Core::new(serde_json::from_str(config).map_err(misread)?, level))?;
        Ok(Self { inner: Mutex::new((core, Pools::default())), level })
    }

    #[getter]
    fn level(&self) -> &'static str {
        self.level.name()
    }

    /// Samples learned from.
    #[getter]
    fn seen(&self) -> u64 {
        self.lock().0.seen()
    }

    /// Presentations, input spikes, spikes, synops, weight updates while learning.
    #[getter]
    fn counts(&self) -> Tuple {
        tuple(self.lock().0.counts())
    }

    /// The weights, (inputs, neurons), copied.
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let guard = self.lock();
        let (inputs, neurons) = (guard.0.config().inputs, guard.0.config().neurons);
        PyArray1::from_vec(py, guard.0.weights()).reshape(vec![inputs, neurons])
    }

    /// The thresholds' adaptations, copied.
    fn theta<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_slice(py, self.lock().0.theta())
    }

    /// Go on from what a network of the same configuration had learned.
    fn restore(
        &self,
        py: Python<'_>,
        weights: PyReadonlyArrayDyn<'_, f32>,
        theta: PyReadonlyArray1<'_, f32>,
        seen: u64,
        counts: Tuple,
    ) -> PyResult<()> {
        let counts = counts_of(counts);
        let weights: Vec<f32> = weights.as_array().iter().copied().collect();
        let theta: Vec<f32> = theta.as_array().iter().copied().collect();
        attached(py, || self.lock().0.restore(&weights, &theta, seen, counts))
    }

    /// Learn from chances (n, inputs) or rasters (n, steps, inputs); spikes of each sample's
    /// last presentation. A batch: all at once, over `threads`.
    #[pyo3(signature = (x, factors, batch, threads))]
    fn train<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        factors: PyReadonlyArray1<'py, f32>,
        batch: bool,
        threads: usize,
    ) -> PyResult<Spikes<'py>> {
        let x = Copied::new(py, x)?;
        let factors: Vec<f32> = factors.as_array().iter().copied().collect();
        let (counts, all) = detached(py, || {
            let mut guard = self.lock();
            let (core, workers) = &mut *guard;
            let mut all = Collected::default();
            if x.samples().len(core.config()) != factors.len() {
                return Err(Error::input("DiehlCook", "factors are not one a sample"));
            }
            if batch {
                workers.entry(threads).or_default().pool(threads)?.install(|| {
                    caught(|| core.train_batch(x.samples(), &factors, |s| all.push(s)))
                })?;
            } else {
                core.train(x.samples(), &factors, |s| all.push(s))?;
            }
            Ok((core.counts(), all))
        })?;
        Ok(arrays(py, counts, all))
    }

    /// Answers while nothing is learned: counts of this call, spikes of each sample.
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
            pool.install(|| caught(|| Ok(core.respond(x.samples()))))
        })?;
        let (counts, all) = Collected::of(&answers);
        Ok(arrays(py, counts, all))
    }
}

/// Poisson spikes (samples, steps, inputs) of chances (samples, inputs), as a network of this
/// seed draws them: while learning from sample `first` on, or, without it, while frozen.
#[pyfunction]
#[pyo3(signature = (chances, steps, seed, first=None, level=None))]
pub fn poisson_rasters<'py>(
    py: Python<'py>,
    chances: PyReadonlyArrayDyn<'py, f32>,
    steps: usize,
    seed: u64,
    first: Option<u64>,
    level: Option<&str>,
) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let shape = chances.as_array().shape().to_vec();
    let [samples, inputs] = shape[..] else {
        return Err(to_py(py, Error::shape("poisson_spikes", "x", &shape, "(N, inputs)")));
    };
    let chances: Vec<f32> = chances.as_array().iter().copied().collect();
    let level = attached(py, || Level::chosen(level))?;
    let out = detached(py, || Ok(rasters(level, seed, (inputs.max(1), steps), &chances, first)))?;
    PyArray1::from_vec(py, out).reshape(vec![samples, steps, inputs])
}
