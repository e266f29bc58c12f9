//! `_core.Sem`: the soft winner-take-all. `spikesim.learn.SEM` is its face.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use spikesim_core::Result;
use spikesim_core::kernels::level::Level;
use spikesim_core::learn::sem;
use spikesim_core::runtime::workers::{Workers, default_threads};

use super::exclusive;
use crate::error::{attached, detached};

/// How long work goes on before signals are looked at.
const POLL: Duration = Duration::from_millis(50);
/// Samples between two looks at the clock.
const PIECE: usize = 16;

struct Inner {
    sem: sem::Sem,
    /// How often each neuron has fired since this was made.
    fired: Vec<u64>,
    workers: Workers,
}

/// Weights, biases, samples seen, how often each neuron fired.
type State<'py> =
    (Bound<'py, PyArrayDyn<f32>>, Bound<'py, PyArrayDyn<f32>>, u64, Bound<'py, PyArrayDyn<u64>>);

/// Neurons of which one fires for each sample.
#[pyclass(frozen, module = "spikesim._core")]
pub struct Sem {
    inner: Mutex<Inner>,
    threads: usize,
}

impl Sem {
    fn take(&self) -> PyResult<MutexGuard<'_, Inner>> {
        exclusive(&self.inner, "SEM: it is at work in another thread, expected one call at a time")
    }
}

#[pymethods]
impl Sem {
    #[new]
    #[pyo3(signature = (neurons, inputs, eta, eta_bias, c, w_min, w_max, seed, level=None, threads=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        neurons: usize,
        inputs: usize,
        eta: f32,
        eta_bias: f32,
        c: f32,
        w_min: f32,
        w_max: f32,
        seed: u64,
        level: Option<&str>,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let params = sem::Params { eta, eta_bias, c, w_min, w_max, seed };
        let level = attached(py, || Level::chosen(level))?;
        let sem = sem::Sem::new(neurons, inputs, params, level);
        let fired = vec![0; neurons];
        let inner = Mutex::new(Inner { sem, fired, workers: Workers::default() });
        Ok(Self { inner, threads: threads.unwrap_or_else(default_threads) })
    }

    /// Weights (neurons, 2 inputs), biases, samples seen, how often each neuron fired here.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<State<'py>> {
        let inner = self.take()?;
        let (weight, bias, seen) = inner.sem.state();
        let shape = vec![inner.sem.neurons(), 2 * inner.sem.inputs()];
        let bias_shape = vec![bias.len()];
        Ok((
            PyArray1::from_vec(py, weight).reshape(shape)?,
            PyArray1::from_vec(py, bias).reshape(bias_shape)?,
            seen,
            PyArray1::from_slice(py, &inner.fired).reshape(vec![inner.fired.len()])?,
        ))
    }

    /// Take what `state` gave; the shapes are the caller's.
    fn set_state(
        &self,
        weight: PyReadonlyArrayDyn<'_, f32>,
        bias: PyReadonlyArrayDyn<'_, f32>,
        seen: u64,
    ) -> PyResult<()> {
        let mut inner = self.take()?;
        let (weight, bias) = (weight.as_slice()?, bias.as_slice()?);
        inner.sem.set_state(weight, bias, seen);
        Ok(())
    }

    /// Learn from samples (N, inputs) in their order. Interrupted, those before stay learned.
    #[pyo3(signature = (x, progress=None))]
    fn learn(
        &self,
        py: Python<'_>,
        x: PyReadonlyArrayDyn<'_, bool>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let x = x.as_slice()?.to_vec();
        let mut inner = self.take()?;
        let Inner { sem, fired, .. } = &mut *inner;
        let inputs = sem.inputs();
        let mut rest = &x[..];
        while !rest.is_empty() {
            let done = detached(py, || {
                let begin = Instant::now();
                let mut done = 0;
                for piece in rest.chunks(PIECE * inputs) {
                    for neuron in sem.learn(piece) {
                        fired[neuron as usize] += 1;
                    }
                    done += piece.len();
                    if begin.elapsed() > POLL {
                        break;
                    }
                }
                Ok(done)
            })?;
            rest = &rest[done..];
            if let Some(progress) = &progress {
                progress.call1(py, (done / inputs,))?;
            }
            py.check_signals()?;
        }
        Ok(())
    }

    /// The probability (N, neurons) of each neuron to fire.
    fn transform<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArrayDyn<'py, bool>,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let x = x.as_slice()?.to_vec();
        let mut inner = self.take()?;
        let Inner { sem, workers, .. } = &mut *inner;
        let pool = attached(py, || workers.pool(self.threads))?;
        let (inputs, neurons) = (sem.inputs(), sem.neurons());
        let samples = x.len() / inputs;
        let mut out = vec![0.0; samples * neurons];
        let (mut at, mut piece) = (0, PIECE);
        while at < samples {
            let end = samples.min(at + piece);
            let begin = Instant::now();
            let (images, to) =
                (&x[at * inputs..end * inputs], &mut out[at * neurons..end * neurons]);
            detached(py, || {
                pool.install(|| sem.transform(images, to));
                Result::Ok(())
            })?;
            if begin.elapsed() < POLL {
                piece *= 2;
            }
            py.check_signals()?;
            at = end;
        }
        PyArray1::from_vec(py, out).reshape(vec![samples, neurons])
    }
}
