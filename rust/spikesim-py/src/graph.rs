//! `_core.Graph`: the network as Python holds it. `spikesim.Network` is its face.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::Value;
use spikesim_core::graph::spec::Arrays;
use spikesim_core::graph::{self, Readout};
use spikesim_core::{Error, Result, formats};

use crate::array::{from_tensor, to_tensor};
use crate::error::{attached, detached};

/// A network under construction; each call takes the lock for itself.
#[pyclass(frozen, module = "spikesim._core")]
pub struct Graph {
    inner: Mutex<graph::Graph>,
}

/// (name, specification as JSON, input shape, output shape).
type NodeRow = (String, String, Vec<usize>, Vec<usize>);

impl Graph {
    pub fn new_from(inner: graph::Graph) -> Self {
        Self { inner: Mutex::new(inner) }
    }

    /// The graph itself. A thread that waits here is attached, so nobody may wait for the
    /// interpreter while holding it.
    fn lock(&self) -> MutexGuard<'_, graph::Graph> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The network as it is now; weights are shared, not copied.
    pub fn snapshot(&self) -> graph::Graph {
        self.lock().clone()
    }
}

#[pymethods]
impl Graph {
    #[new]
    fn new(py: Python<'_>, input_shape: Vec<usize>) -> PyResult<Self> {
        attached(py, || graph::Graph::new(&input_shape)).map(Self::new_from)
    }

    /// Adds a node; `inputs` empty: fed by the node added before. `delays`: one an input.
    #[pyo3(signature = (name, spec_json, arrays, inputs, delays=None))]
    fn add(
        &self,
        py: Python<'_>,
        name: &str,
        spec_json: &str,
        arrays: &Bound<'_, PyDict>,
        inputs: Vec<String>,
        delays: Option<Vec<usize>>,
    ) -> PyResult<()> {
        let mut tensors = Arrays::new();
        for (key, array) in arrays {
            let key: String = key.extract()?;
            let tensor = to_tensor(&key, &array)?;
            tensors.insert(key, tensor);
        }
        attached(py, || {
            let spec = json(name, spec_json)?;
            let delays = delays.unwrap_or_else(|| vec![0; inputs.len()]);
            if delays.len() != inputs.len() {
                return Err(Error::graph(name, "there is not one delay an input, expected it"));
            }
            let inputs: Vec<_> = inputs.iter().map(String::as_str).zip(delays).collect();
            let mut graph = self.lock();
            let sources = graph.resolve(name, &inputs)?;
            graph.add_spec(name, &spec, tensors, &sources).map(drop)
        })
    }

    fn connect(&self, py: Python<'_>, src: &str, dst: &str, delay: usize) -> PyResult<()> {
        attached(py, || self.lock().connect(src, dst, delay))
    }

    fn set_output(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        attached(py, || self.lock().set_output(name))
    }

    fn output(&self) -> String {
        let graph = self.lock();
        graph.nodes()[graph.output()].name.clone()
    }

    #[pyo3(signature = (name))]
    fn set_readout(&self, py: Python<'_>, name: Option<&str>) -> PyResult<()> {
        attached(py, || {
            let readout = name.map(Readout::from_name).transpose()?;
            self.lock().set_readout(readout);
            Ok(())
        })
    }

    fn readout(&self) -> &'static str {
        self.lock().readout().name()
    }

    #[getter]
    fn dt(&self) -> Option<f64> {
        self.lock().dt
    }

    #[pyo3(signature = (dt))]
    fn set_dt(&self, py: Python<'_>, dt: Option<f64>) -> PyResult<()> {
        attached(py, || self.lock().set_dt(dt))
    }

    #[getter]
    fn meta_json(&self) -> String {
        Value::Object(self.lock().meta.clone()).to_string()
    }

    fn set_meta_json(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        attached(py, || {
            let Value::Object(meta) = json("meta", text)? else {
                return Err(Error::graph("meta", "is no JSON object, expected one"));
            };
            self.lock().meta = meta;
            Ok(())
        })
    }

    /// All nodes in the order in which they were added; the first is the input.
    fn nodes(&self) -> Vec<NodeRow> {
        self.lock().nodes().iter().map(row).collect()
    }

    fn node(&self, py: Python<'_>, name: &str) -> PyResult<NodeRow> {
        attached(py, || {
            let graph = self.lock();
            Ok(row(&graph.nodes()[graph.node_id("network", name)?]))
        })
    }

    /// The node's arrays, copied.
    fn arrays<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyDict>> {
        let op = attached(py, || {
            let graph = self.lock();
            Ok(graph.nodes()[graph.node_id("network", name)?].op.clone())
        })?;
        let dict = PyDict::new(py);
        for (name, tensor) in op.arrays() {
            let array: Bound<'py, PyArrayDyn<f32>> = from_tensor(py, tensor)?;
            dict.set_item(name, array)?;
        }
        Ok(dict)
    }

    /// The shapes of the node's arrays, without their values.
    fn array_shapes(
        &self,
        py: Python<'_>,
        name: &str,
    ) -> PyResult<Vec<(&'static str, Vec<usize>)>> {
        attached(py, || {
            let graph = self.lock();
            let op = &graph.nodes()[graph.node_id("network", name)?].op;
            Ok(op.arrays().iter().map(|(name, t)| (*name, t.shape().to_vec())).collect())
        })
    }

    /// (source, target, delay) of each edge in the order of declaration.
    fn edges(&self) -> Vec<(String, String, usize)> {
        let graph = self.lock();
        let name = |id: usize| graph.nodes()[id].name.clone();
        graph.edges().iter().map(|e| (name(e.src), name(e.dst), e.delay)).collect()
    }

    fn validate(&self, py: Python<'_>) -> PyResult<()> {
        attached(py, || self.lock().validate())
    }

    /// The network with BatchNorm folded into the layers before it.
    fn fold(&self, py: Python<'_>) -> PyResult<Self> {
        let graph = self.snapshot();
        detached(py, move || graph.fold()).map(Self::new_from)
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let graph = self.snapshot();
        detached(py, move || formats::save(&graph, &path))
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        detached(py, move || formats::load(&path)).map(Self::new_from)
    }

    /// The network as a bundle's bytes: what pickling uses.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let graph = self.snapshot();
        let bytes = detached(py, move || formats::bundle::to_bytes(&graph))?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        attached(py, || formats::bundle::from_bytes(bytes)).map(Self::new_from)
    }

    /// A network of its own that shares the weights.
    fn clone(&self) -> Self {
        Self::new_from(self.snapshot())
    }

    fn __len__(&self) -> usize {
        self.lock().nodes().len()
    }
}

fn row(node: &graph::Node) -> NodeRow {
    (node.name.clone(), node.op.spec().to_string(), node.in_shape.clone(), node.shape.clone())
}

fn json(place: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        Error::graph(place, format!("the description is no JSON ({error}), expected some"))
    })
}
