//! `_core.Learner`: a network that learns. `spikesim.learn.Learner` is its face.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use spikesim_core::kernels::level::Level;
use spikesim_core::learn::network::{self, Spec};
use spikesim_core::learn::run::{Learned, Options, Rewards};
use spikesim_core::learn::state::{Numbers, Saved};
use spikesim_core::runtime::Input;
use spikesim_core::{Error, Result};

use super::exclusive;
use crate::array::copied;
use crate::error::{attached, caught, detached, to_py};
use crate::graph::Graph;

/// A network and the rules that it learns by; one call at a time.
#[pyclass(frozen, module = "spikesim._core")]
pub struct Learner {
    inner: Mutex<network::Learner>,
}

impl Learner {
    fn lock(&self) -> PyResult<MutexGuard<'_, network::Learner>> {
        exclusive(
            &self.inner,
            "learner: it is running in another thread, expected one run at a time",
        )
    }
}

#[pymethods]
impl Learner {
    #[new]
    #[pyo3(signature = (graph, spec_json, level=None))]
    fn new(
        py: Python<'_>,
        graph: &Bound<'_, Graph>,
        spec_json: &str,
        level: Option<&str>,
    ) -> PyResult<Self> {
        let graph = graph.get().snapshot();
        let level = attached(py, || Level::chosen(level))?;
        let spec: Spec = attached(py, || {
            serde_json::from_str(spec_json).map_err(|error| {
                Error::input("learn", format!("the rules are no description ({error})"))
            })
        })?;
        let inner = detached(py, || network::Learner::new(&graph, &spec, level))?;
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// Samples that have begun.
    fn samples(&self) -> PyResult<u32> {
        Ok(self.lock()?.samples())
    }

    /// Learns from `x`; `control` is called now and then with the number of samples done.
    #[pyo3(signature = (x, samples, steps, constant, reward, each_step, reset, spikes, v, control=None))]
    #[allow(clippy::too_many_arguments)]
    fn run<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArrayDyn<'py, f32>,
        samples: usize,
        steps: usize,
        constant: bool,
        reward: Option<PyReadonlyArrayDyn<'py, f32>>,
        each_step: bool,
        reset: bool,
        spikes: bool,
        v: bool,
        control: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let data = copied(py, "run", &x)?;
        let reward = reward.as_ref().map(|reward| copied(py, "run", reward)).transpose()?;
        let mut inner = self.lock()?;
        let learner: &mut network::Learner = &mut inner;
        let mut raised: Option<PyErr> = None;
        let result = py.detach(|| {
            let input = Input { data: &data, samples, steps, constant };
            let rewards = match &reward {
                None => Rewards::None,
                Some(values) if each_step => Rewards::Steps(values),
                Some(values) => Rewards::Samples(values),
            };
            let options = Options { reset, rewards, spikes, v };
            let mut ask = |done: usize| -> Result<()> {
                let answer = Python::attach(|py| {
                    if let Some(control) = &control {
                        control.call1(py, (done,))?;
                    }
                    py.check_signals()
                });
                answer.map_err(|error| {
                    raised = Some(error);
                    Error::Interrupted
                })
            };
            caught(|| learner.run(&input, &options, &mut ask))
        });
        if let Some(error) = raised {
            return Err(error);
        }
        let learned = result.map_err(|error| to_py(py, error))?;
        to_python(py, inner.plan(), learned)
    }

    /// The learned network; with `thresholds` adapted thresholds are in it.
    fn network(&self, py: Python<'_>, thresholds: bool) -> PyResult<Graph> {
        let inner = self.lock()?;
        attached(py, || Ok(Graph::new_from(inner.network(thresholds))))
    }

    /// Everything that was learned, as new arrays by name.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for Saved { name, shape, data } in self.lock()?.state() {
            match data {
                Numbers::Floats(data) => {
                    out.set_item(name, PyArray1::from_vec(py, data).reshape(shape)?)?;
                }
                Numbers::Counts(data) => {
                    out.set_item(name, PyArray1::from_vec(py, data).reshape(shape)?)?;
                }
            }
        }
        Ok(out)
    }

    /// Go on from arrays that `state` gave.
    fn load_state(&self, py: Python<'_>, arrays: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut saved = Vec::new();
        for (name, array) in arrays {
            let name: String = name.extract()?;
            let floats = array.extract::<PyReadonlyArrayDyn<'_, f32>>();
            let counts = array.extract::<PyReadonlyArrayDyn<'_, u32>>();
            let (shape, data) = match (floats, counts) {
                (Ok(a), _) => {
                    let data = a.as_array().iter().copied().collect();
                    (a.shape().to_vec(), Numbers::Floats(data))
                }
                (_, Ok(a)) => {
                    let data = a.as_array().iter().copied().collect();
                    (a.shape().to_vec(), Numbers::Counts(data))
                }
                _ => {
                    let text = format!("state_dict: {name} is no array of float32 or uint32");
                    return Err(PyTypeError::new_err(text));
                }
            };
            saved.push(Saved { name, shape, data });
        }
        let mut inner = self.lock()?;
        attached(py, || inner.load_state(saved))
    }
}

fn to_python<'py>(
    py: Python<'py>,
    plan: &spikesim_core::plan::Plan,
    learned: Learned,
) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("updates", learned.updates)?;
    out.set_item("synops", learned.synops)?;
    let counts = PyDict::new(py);
    for (id, spikes) in learned.spikes {
        counts.set_item(plan.name(id), PyArray1::from_vec(py, spikes))?;
    }
    out.set_item("counts", counts)?;
    let columns = PyDict::new(py);
    for (id, one) in learned.columns {
        let all = [one.step, one.sample, one.neuron, one.count];
        let all = all.map(|column| PyArray1::from_vec(py, column));
        columns.set_item(plan.name(id), PyTuple::new(py, all)?)?;
    }
    out.set_item("spikes", columns)?;
    let membranes: BTreeMap<_, _> = learned.v;
    let v = PyDict::new(py);
    for (id, values) in membranes {
        v.set_item(plan.name(id), PyArray1::from_vec(py, values))?;
    }
    out.set_item("v", v)?;
    Ok(out)
}
