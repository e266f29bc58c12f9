//! The value of one node for one sample over the steps of a chunk.

use crate::kernels::events::Events;
use crate::kernels::window::Dims;

/// Floats behind the last row, so that a kernel may read a whole block at its end.
const SLACK: usize = 64;

/// Rows `0..lead` are the past that delayed edges look back to; step `t` of the chunk is row
/// `lead + t`. A constant value has one row, whatever the step.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    dims: Dims,
    lead: usize,
    pub(crate) constant: bool,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Events(Events),
    /// `[row][pixel][channel]`, then [`SLACK`] zeros.
    Dense(Vec<f32>),
}

impl Value {
    /// Nothing yet but `lead` silent rows.
    pub(crate) fn new(dims: Dims, dense: bool, lead: usize) -> Self {
        let data = if dense {
            Data::Dense(vec![0.0; lead * dims.len() + SLACK])
        } else {
            let mut events = Events::new(dims, false);
            (0..lead).for_each(|_| events.push_silence());
            Data::Events(events)
        };
        Self { dims, lead, constant: false, data }
    }

    /// Rows held.
    pub(crate) fn rows(&self) -> usize {
        match &self.data {
            Data::Events(events) => events.steps(),
            Data::Dense(data) => (data.len() - SLACK) / self.dims.len().max(1),
        }
    }

    /// The row that an edge of `delay` sees at step `t`.
    pub(crate) fn row(&self, t: usize, delay: usize) -> usize {
        if self.constant { 0 } else { self.lead + t - delay }
    }

    /// Channels, rows, columns.
    pub(crate) fn dims(&self) -> Dims {
        self.dims
    }

    /// The lists, where the value is events.
    pub(crate) fn events(&self) -> Option<&Events> {
        match &self.data {
            Data::Events(events) => Some(events),
            Data::Dense(_) => None,
        }
    }

    /// The lists to append to, where the value is events.
    pub(crate) fn events_mut(&mut self) -> Option<&mut Events> {
        match &mut self.data {
            Data::Events(events) => Some(events),
            Data::Dense(_) => None,
        }
    }

    /// All rows and the slack, from `row` on, where the value is dense.
    pub(crate) fn dense_from(&self, row: usize) -> Option<&[f32]> {
        match &self.data {
            Data::Events(_) => None,
            Data::Dense(data) => Some(&data[row * self.dims.len()..]),
        }
    }

    /// Add one row to `out`, `[pixel][channel]`.
    pub(crate) fn add_row(&self, row: usize, out: &mut [f32]) {
        match &self.data {
            Data::Events(events) => events.scatter(row, out),
            Data::Dense(data) => {
                let len = self.dims.len();
                out.iter_mut().zip(&data[row * len..][..len]).for_each(|(o, x)| *o += x);
            }
        }
    }

    /// One row, `[pixel][channel]`.
    pub(crate) fn copy_row(&self, row: usize) -> Vec<f32> {
        match &self.data {
            Data::Dense(data) => data[row * self.dims.len()..][..self.dims.len()].to_vec(),
            Data::Events(events) => {
                let mut out = vec![0.0; self.dims.len()];
                events.scatter(row, &mut out);
                out
            }
        }
    }

    /// Append a row of analog values (nonzero ones become events where the value is events).
    pub(crate) fn push_dense(&mut self, row: &[f32]) {
        match &mut self.data {
            Data::Events(events) => events.push_dense(row),
            Data::Dense(data) => {
                data.truncate(data.len() - SLACK);
                data.extend_from_slice(row);
                data.resize(data.len() + SLACK, 0.0);
            }
        }
    }

    /// Append rows of analog values that `fill` writes.
    pub(crate) fn extend_dense(&mut self, rows: usize, fill: impl FnOnce(&mut [f32])) {
        if let Data::Dense(data) = &mut self.data {
            let from = data.len() - SLACK;
            let len = rows * self.dims.len();
            data.resize(data.len() + len, 0.0);
            fill(&mut data[from..from + len]);
        }
    }

    /// A value whose rows `0..lead` are the last `lead` rows of this one: what the next chunk
    /// starts from.
    pub(crate) fn tail(&self, lead: usize) -> Self {
        let first = self.rows() - lead;
        let data = match &self.data {
            Data::Events(events) => {
                let mut tail = Events::new(self.dims, events.is_graded());
                (first..first + lead).for_each(|row| tail.push_copy(events, row));
                Data::Events(tail)
            }
            Data::Dense(data) => Data::Dense(data[first * self.dims.len()..].to_vec()),
        };
        Self { dims: self.dims, lead, constant: false, data }
    }
}
