//! Samples into the networks of Diehl and Cook, and their spikes out.

use std::collections::BTreeMap;

use numpy::{PyArray1, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use spikesim_core::Error;
use spikesim_core::learn::diehl_cook::{Counts, Response, Samples};
use spikesim_core::runtime::workers::Workers;

use crate::error::to_py;

/// A pool for each number of threads that was asked for.
pub(super) type Pools = BTreeMap<usize, Workers>;

pub(super) type Tuple = (u64, u64, u64, u64, u64);
/// Counts; where each sample's spikes begin; the neurons of all spikes.
pub(super) type Spikes<'py> = (Tuple, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<u32>>);

pub(super) fn tuple(c: Counts) -> Tuple {
    (c.presentations, c.input_spikes, c.spikes, c.synops, c.weight_updates)
}

pub(super) fn counts_of(
    (presentations, input_spikes, spikes, synops, weight_updates): Tuple,
) -> Counts {
    Counts { presentations, input_spikes, spikes, synops, weight_updates }
}

pub(super) fn arrays<'py>(py: Python<'py>, counts: Counts, all: Collected) -> Spikes<'py> {
    (tuple(counts), PyArray1::from_vec(py, all.start), PyArray1::from_vec(py, all.neurons))
}

/// What is wrong with a configuration that is no JSON of one.
pub(super) fn misread(error: serde_json::Error) -> Error {
    Error::input("DiehlCook", format!("configuration: {error}"))
}

/// Spikes of samples one after the other.
#[derive(Default)]
pub(super) struct Collected {
    start: Vec<i64>,
    neurons: Vec<u32>,
}

impl Collected {
    pub(super) fn push(&mut self, spikes: &[u32]) {
        if self.start.is_empty() {
            self.start.push(0);
        }
        self.neurons.extend_from_slice(spikes);
        self.start.push(self.neurons.len() as i64);
    }

    /// The answers of a pool, and what they cost together.
    pub(super) fn of(answers: &[Response]) -> (Counts, Self) {
        let (mut counts, mut all) = (Counts::default(), Self::default());
        for (c, spikes) in answers {
            counts.add(c);
            all.push(spikes);
        }
        (counts, all)
    }
}

/// Chances (float32) or rasters (uint8), copied: another thread may write to them meanwhile.
pub(super) enum Copied {
    Chances(Vec<f32>),
    Rasters(Vec<u8>),
}

impl Copied {
    pub(super) fn new(py: Python<'_>, x: &Bound<'_, PyAny>) -> PyResult<Self> {
        let wrong = || to_py(py, Error::input("DiehlCook", "x is not contiguous float32 or uint8"));
        if let Ok(x) = x.extract::<PyReadonlyArrayDyn<'_, f32>>() {
            return Ok(Self::Chances(x.as_slice().map_err(|_| wrong())?.to_vec()));
        }
        let x: PyReadonlyArrayDyn<'_, u8> = x.extract().map_err(|_| wrong())?;
        Ok(Self::Rasters(x.as_slice().map_err(|_| wrong())?.to_vec()))
    }

    pub(super) fn samples(&self) -> Samples<'_> {
        match self {
            Self::Chances(p) => Samples::Chances(p),
            Self::Rasters(r) => Samples::Rasters(r),
        }
    }
}
