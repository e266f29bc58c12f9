//! `_core.Stream`: a simulator that is stepped. `spikesim.stream` is its face.

use numpy::{PyArrayDyn, PyReadonlyArray1};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use spikesim_core::Error;
use spikesim_core::runtime::{LayerCounts, StepInput, StepOutput, StreamOptions};

use crate::error::{caught, detached, to_py};
use crate::simulator::{Simulator, to_numpy};

/// Add what this module has to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Stream>()
}

/// Columns of a step's counts.
type Row = [u64; 7];

fn row(counts: &LayerCounts) -> Row {
    [
        &counts.synops,
        &counts.synops_with_zeros,
        &counts.macs,
        &counts.macs_executed,
        &counts.neuron_updates,
        &counts.neuron_visits,
        &counts.spikes,
    ]
    .map(|table| table.first().copied().unwrap_or(0))
}

/// What a step gives: the readout, the counts (layer, counter), the spikes (or nothing).
type Step<'py> = (Bound<'py, PyArrayDyn<f32>>, Bound<'py, PyArrayDyn<u64>>, Bound<'py, PyDict>);

/// A stream under way on a simulator.
#[pyclass(frozen, module = "spikesim._core")]
pub struct Stream {
    simulator: Py<Simulator>,
    number: u64,
    /// How each node is stepped.
    #[pyo3(get)]
    report: Vec<(String, &'static str)>,
}

#[pymethods]
impl Stream {
    #[new]
    fn new(
        py: Python<'_>,
        simulator: Py<Simulator>,
        resume: bool,
        window: Option<usize>,
        spikes: bool,
    ) -> PyResult<Self> {
        let options = StreamOptions { window, spikes };
        let (number, report) = {
            let mut taken = simulator.get().take()?;
            let inner = taken.get()?;
            let begun = &mut inner.simulator;
            let report = detached(py, || {
                begun.begin_stream(options, resume)?;
                Ok(begun.stream_report())
            })?;
            inner.streams += 1;
            (inner.streams, report)
        };
        Ok(Self { simulator, number, report })
    }

    /// Names of the layers that count, and whether each is a population.
    fn layers(&self) -> Vec<(String, bool)> {
        self.simulator.get().plan.counted()
    }

    /// A step of all values, C order.
    fn step<'py>(
        &self,
        py: Python<'py>,
        values: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<Step<'py>> {
        let values = values.as_array().to_vec();
        self.go(py, &StepInput::Dense(&values))
    }

    /// A step of the values that are not zero: their places in C order, all 1 without `values`.
    #[pyo3(signature = (index, values=None))]
    fn step_events<'py>(
        &self,
        py: Python<'py>,
        index: PyReadonlyArray1<'py, i64>,
        values: Option<PyReadonlyArray1<'py, f32>>,
    ) -> PyResult<Step<'py>> {
        let index = index.as_array().to_vec();
        let values = values.map(|values| values.as_array().to_vec());
        self.go(py, &StepInput::Sparse { index: &index, values: values.as_deref() })
    }
}

impl Stream {
    fn go<'py>(&self, py: Python<'py>, input: &StepInput<'_>) -> PyResult<Step<'py>> {
        let simulator = self.simulator.get();
        let mut taken = simulator.take()?;
        let inner = taken.get()?;
        if inner.streams != self.number {
            return Err(PyRuntimeError::new_err(
                "stream: another stream has begun on this simulator, expected one at a time; \
                 compile() one for each stream",
            ));
        }
        let stepped = &mut inner.simulator;
        let result: PyResult<StepOutput> =
            py.detach(|| caught(|| stepped.stream_step(input))).map_err(|error| {
                if matches!(error, Error::Internal { .. }) {
                    // A panic may have left anything behind.
                    stepped.reset();
                }
                to_py(py, error)
            });
        let output = result?;
        drop(taken);
        let mut table: Vec<u64> = Vec::with_capacity(output.counts.len() * 7);
        output.counts.iter().for_each(|(_, counts)| table.extend_from_slice(&row(counts)));
        let spikes = PyDict::new(py);
        for (id, (neuron, count)) in output.spikes {
            let n = neuron.len();
            let pair = (to_numpy(py, neuron, &[n])?, to_numpy(py, count, &[n])?);
            spikes.set_item(simulator.plan.name(id), pair)?;
        }
        let values = to_numpy(py, output.values, simulator.plan.output_shape())?;
        let counts = to_numpy(py, table, &[output.counts.len(), 7])?;
        Ok((values, counts, spikes))
    }
}
