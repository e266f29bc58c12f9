//! `_core.Simulator`: run a plan. `spikesim.Simulator` is its face.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rayon::prelude::*;
use spikesim_core::kernels::level::Level;
use spikesim_core::plan::{Plan, Precision};
use spikesim_core::runtime::workers::{Workers, default_threads};
use spikesim_core::runtime::{
    self, Control, Input, Options, Output, Record, StateArray, StateData,
};
use spikesim_core::{Error, Result};

use crate::array::copied;
use crate::error::{attached, caught, detached, to_py};
use crate::graph::Graph;

/// How long a run goes on before signals are looked at.
const POLL: Duration = Duration::from_millis(50);

/// Add what this module has to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Simulator>()?;
    module.add_function(wrap_pyfunction!(levels, module)?)?;
    module.add_function(wrap_pyfunction!(available_threads, module)?)?;
    module.add_function(wrap_pyfunction!(_panic, module)?)
}

/// The instruction-set levels of this CPU, plainest first.
#[pyfunction]
fn levels() -> Vec<&'static str> {
    Level::available().into_iter().map(Level::name).collect()
}

/// Threads this process may use.
#[pyfunction]
fn available_threads() -> usize {
    default_threads()
}

/// Panic on purpose where `route` says: what the tests of the panic rule call.
#[pyfunction]
fn _panic(py: Python<'_>, route: &str) -> PyResult<()> {
    let boom = || -> Result<()> { panic!("on purpose") };
    match route {
        "attached" => attached(py, boom),
        "detached" => detached(py, boom),
        _ => {
            // As a run does: in a pool's thread, from within a parallel loop.
            let pool = attached(py, || Workers::default().pool(2))?;
            let mut result = Ok(());
            py.detach(|| {
                pool.in_place_scope(|scope| {
                    scope.spawn(|_| {
                        result = caught(|| (0..4).into_par_iter().try_for_each(|_| boom()));
                    });
                });
            });
            result.map_err(|error| to_py(py, error))
        }
    }
}

/// An array of a state.
#[derive(FromPyObject)]
pub(crate) enum Values<'py> {
    F32(PyReadonlyArrayDyn<'py, f32>),
    I32(PyReadonlyArrayDyn<'py, i32>),
}

pub(crate) struct Inner {
    pub(crate) simulator: runtime::Simulator,
    workers: Workers,
    /// Streams begun so far: the number of the last one.
    pub(crate) streams: u64,
}

/// Where the simulator is: here, or taken by a call that is under way in process `owner`.
struct Slot {
    inner: Option<Inner>,
    owner: u32,
}

/// A compiled network and the state of some samples.
#[pyclass(frozen, module = "spikesim._core")]
pub struct Simulator {
    pub(crate) plan: Arc<Plan>,
    threads: usize,
    slot: Mutex<Slot>,
}

/// The simulator while a call has it; given back when dropped.
pub(crate) struct Taken<'a> {
    slot: &'a Mutex<Slot>,
    inner: Option<Inner>,
}

impl Taken<'_> {
    pub(crate) fn get(&mut self) -> PyResult<&mut Inner> {
        self.inner.as_mut().ok_or_else(|| PyRuntimeError::new_err("simulator: it was given back"))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).inner = self.inner.take();
    }
}

impl Simulator {
    fn fresh(plan: &Arc<Plan>) -> Inner {
        let simulator = runtime::Simulator::new(plan.clone());
        Inner { simulator, workers: Workers::default(), streams: 0 }
    }

    /// The simulator, unless another thread has it. In a child that was forked while a thread of
    /// its parent was running it, that thread and the state it worked on are not there: the
    /// child begins with the initial state.
    pub(crate) fn take(&self) -> PyResult<Taken<'_>> {
        let pid = std::process::id();
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = match slot.inner.take() {
            Some(inner) => inner,
            None if slot.owner != pid => Self::fresh(&self.plan),
            None => {
                return Err(PyRuntimeError::new_err(
                    "simulator: it is running in another thread, expected one run at a time; \
                     compile() one for each thread",
                ));
            }
        };
        slot.owner = pid;
        Ok(Taken { slot: &self.slot, inner: Some(inner) })
    }
}

#[pymethods]
impl Simulator {
    #[new]
    #[pyo3(signature = (graph, level=None, threads=None, clips=None))]
    fn new(
        py: Python<'_>,
        graph: &Bound<'_, Graph>,
        level: Option<&str>,
        threads: Option<usize>,
        clips: Option<BTreeMap<String, Vec<f32>>>,
    ) -> PyResult<Self> {
        let precision = clips.map_or(Precision::F32, Precision::I8);
        let graph = graph.get().snapshot();
        let level = attached(py, || Level::chosen(level))?;
        let threads = threads.unwrap_or_else(default_threads);
        let plan = detached(py, || {
            if !(1..=1024).contains(&threads) {
                let problem = format!("{threads} is out of range, expected 1 to 1024");
                return Err(Error::input("threads", problem));
            }
            Plan::new(&graph, level, &precision)
        })?;
        let plan = Arc::new(plan);
        let inner = Some(Self::fresh(&plan));
        let slot = Mutex::new(Slot { inner, owner: std::process::id() });
        Ok(Self { plan, threads, slot })
    }

    #[getter]
    fn level(&self) -> &'static str {
        self.plan.level().name()
    }

    #[getter]
    fn precision(&self) -> &'static str {
        self.plan.precision().name()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    #[getter]
    fn weight_bytes(&self) -> usize {
        self.plan.weight_bytes()
    }

    /// Populations in the graph's order: (name, shape).
    fn populations(&self) -> Vec<(String, Vec<usize>)> {
        self.plan.populations().map(|(_, n, s)| (n.to_string(), s.to_vec())).collect()
    }

    /// Run; `record` maps a population's name to (spikes, v, current). `progress` is called with
    /// the number of sample-steps done, every now and then.
    #[pyo3(signature = (x, samples, steps, constant, record, batch_size, resume, progress=None))]
    #[allow(clippy::too_many_arguments)]
    fn run<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArrayDyn<'py, f32>,
        samples: usize,
        steps: usize,
        constant: bool,
        record: BTreeMap<String, (bool, bool, bool)>,
        batch_size: Option<usize>,
        resume: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let data = copied(py, "run", &x)?;
        drop(x);
        let populations: BTreeMap<&str, usize> =
            self.plan.populations().map(|(id, name, _)| (name, id)).collect();
        let record = record
            .iter()
            .filter_map(|(name, &(spikes, v, current))| {
                let id = populations.get(name.as_str())?;
                Some((*id, Record { spikes, v, current }))
            })
            .collect();
        let options = Options { record, batch_size, resume };
        let mut taken = self.take()?;
        let Inner { simulator, workers, .. } = taken.get()?;
        let pool = attached(py, || workers.pool(self.threads))?;
        let control = Control::default();
        let (result, interrupted) = py.detach(|| {
            let input = Input { data: &data, samples, steps, constant };
            let mut result: Result<Output> = Err(Error::Interrupted);
            let mut interrupted: Option<PyErr> = None;
            let (sender, done) = channel::<()>();
            pool.in_place_scope(|scope| {
                let (result, control) = (&mut result, &control);
                scope.spawn(move |_| {
                    *result = caught(|| simulator.run(&input, &options, control));
                    drop(sender);
                });
                // Meanwhile this thread answers Ctrl-C and shows progress.
                while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(POLL) {
                    let answer = Python::attach(|py| {
                        if let Some(progress) = &progress {
                            progress.call1(py, (control.done(),))?;
                        }
                        py.check_signals()
                    });
                    if let Err(error) = answer {
                        control.stop();
                        interrupted.get_or_insert(error);
                    }
                }
            });
            (result, interrupted)
        });
        if let Some(error) = interrupted {
            return Err(error);
        }
        let output = result.map_err(|error| {
            if matches!(error, Error::Internal { .. }) {
                // A panic may have left anything behind: start from the beginning next time.
                if let Ok(inner) = taken.get() {
                    inner.simulator.reset();
                }
            }
            to_py(py, error)
        })?;
        drop(taken);
        self.to_python(py, output, samples, steps)
    }

    /// Restore the initial state.
    fn reset(&self) -> PyResult<()> {
        self.take()?.get()?.simulator.reset();
        Ok(())
    }

    /// The whole state as new arrays by name.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let arrays = self.take()?.get()?.simulator.state();
        let out = PyDict::new(py);
        for array in arrays {
            match array.data {
                StateData::F32(data) => {
                    out.set_item(&array.name, to_numpy(py, data, &array.shape)?)?
                }
                StateData::I32(data) => {
                    out.set_item(&array.name, to_numpy(py, data, &array.shape)?)?
                }
            }
        }
        Ok(out)
    }

    /// Go on from arrays that `state` gave.
    fn load_state(&self, py: Python<'_>, arrays: BTreeMap<String, Values<'_>>) -> PyResult<()> {
        let arrays: Vec<StateArray> = arrays
            .into_iter()
            .map(|(name, values)| match values {
                Values::F32(array) => {
                    let array = array.as_array();
                    let data = StateData::F32(array.iter().copied().collect());
                    StateArray { name, shape: array.shape().to_vec(), data }
                }
                Values::I32(array) => {
                    let array = array.as_array();
                    let data = StateData::I32(array.iter().copied().collect());
                    StateArray { name, shape: array.shape().to_vec(), data }
                }
            })
            .collect();
        let mut taken = self.take()?;
        let inner = taken.get()?;
        attached(py, || inner.simulator.load_state(&arrays))
    }
}

impl Simulator {
    fn to_python<'py>(
        &self,
        py: Python<'py>,
        output: Output,
        samples: usize,
        steps: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let shapes: BTreeMap<usize, &[usize]> =
            self.plan.populations().map(|(id, _, shape)| (id, shape)).collect();
        let out = PyDict::new(py);
        let shape = [&[samples], self.plan.output_shape()].concat();
        out.set_item("output", to_numpy(py, output.values, &shape)?)?;
        let spikes = PyDict::new(py);
        for (id, columns) in output.spikes {
            let columns = PyTuple::new(
                py,
                [
                    PyArray1::from_vec(py, columns.step).into_any(),
                    PyArray1::from_vec(py, columns.sample).into_any(),
                    PyArray1::from_vec(py, columns.neuron).into_any(),
                    PyArray1::from_vec(py, columns.count).into_any(),
                ],
            )?;
            spikes.set_item(self.plan.name(id), columns)?;
        }
        out.set_item("spikes", spikes)?;
        for (key, rasters) in [("v", output.v), ("current", output.current)] {
            let dict = PyDict::new(py);
            for (id, values) in rasters {
                let shape = [&[steps, samples], shapes[&id]].concat();
                dict.set_item(self.plan.name(id), to_numpy(py, values, &shape)?)?;
            }
            out.set_item(key, dict)?;
        }
        let layers = PyDict::new(py);
        for (id, counts) in output.counts.layers {
            let tables = PyDict::new(py);
            for (name, table) in [
                ("synops", counts.synops),
                ("synops_with_zeros", counts.synops_with_zeros),
                ("macs", counts.macs),
                ("macs_executed", counts.macs_executed),
                ("spikes", counts.spikes),
                ("neuron_updates", counts.neuron_updates),
                ("neuron_visits", counts.neuron_visits),
            ] {
                if !table.is_empty() {
                    tables.set_item(name, to_numpy(py, table, &[steps, samples])?)?;
                }
            }
            layers.set_item(self.plan.name(id), tables)?;
        }
        out.set_item("counts", layers)?;
        Ok(out)
    }
}

/// Values as a NumPy array; their memory moves, nothing is copied.
pub(crate) fn to_numpy<'py, T: Element>(
    py: Python<'py>,
    values: Vec<T>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    PyArray1::from_vec(py, values).reshape(shape)
}
