//! Running a plan: state, values in flight, groups of samples over threads, what comes out.

mod blocks;
mod counts;
mod delay;
mod eval;
mod gated;
mod group;
mod integer;
mod population;
mod readout;
mod record;
mod request;
mod simulator;
mod stream;
pub mod workers;

pub use crate::step::{Input, StateArray, StateData};
pub use counts::{Counts, LayerCounts};
pub use record::SpikeColumns;
pub use request::{Options, Record};
pub use simulator::{Output, Simulator};
pub use stream::{StepInput, StepOutput, StreamOptions};

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Error, Result};

/// How a run and its caller talk: the caller asks it to stop, the run says how far it is.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    done: AtomicU64,
}

impl Control {
    /// Ask the run to stop at its next check (well under 0.2 s).
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Sample-steps finished.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn advance(&self, sample_steps: u64) {
        self.done.fetch_add(sample_steps, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
