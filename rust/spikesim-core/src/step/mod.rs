//! One step of one sample: the values in flight, the state between steps, and what a node makes
//! of its sources. The runtime takes whole chunks of steps and groups of samples through it,
//! learning goes step by step.

pub(crate) mod blocks;
pub(crate) mod delay;
pub(crate) mod emit;
mod input;
pub(crate) mod sources;
pub(crate) mod state;
pub(crate) mod value;
pub(crate) mod weightless;

pub use input::Input;
pub(crate) use state::SampleState;
pub use state::{StateArray, StateData};
pub(crate) use value::Value;
