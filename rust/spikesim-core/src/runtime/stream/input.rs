//! What a stream is given for one step.

use super::frame::{Frame, Mixer};
use crate::kernels::events::multiplicity_of;
use crate::kernels::window::Dims;
use crate::{Error, Result};

/// The input of one step.
#[derive(Clone, Copy, Debug)]
pub enum StepInput<'a> {
    /// All values, C order.
    Dense(&'a [f32]),
    /// The values that are not zero.
    Sparse {
        /// Their places, C order; what comes several times adds up in this order.
        index: &'a [i64],
        /// As many values; all 1 where there is none.
        values: Option<&'a [f32]>,
    },
}

/// Zeros that are passed over at once.
const STRETCH: usize = 16;

impl StepInput<'_> {
    /// The events of the step.
    pub(super) fn read(&self, shape: &[usize], mixer: &mut Mixer, out: &mut Frame) -> Result<()> {
        let dims = Dims::of(shape);
        let mut push = |k: usize, value: f32| {
            let at = k % dims.pixels() * dims.c + k / dims.pixels();
            mixer.push(at as u32, value, [0, 0]);
        };
        match *self {
            Self::Dense(values) => {
                if values.len() != dims.len() {
                    return Err(Error::shape("stream", "step", &[values.len()], shown(shape)));
                }
                for (k, stretch) in values.chunks(STRETCH).enumerate() {
                    if stretch.iter().any(|&x| x != 0.0) {
                        let all = (k * STRETCH..).zip(stretch).filter(|(_, x)| **x != 0.0);
                        all.for_each(|(at, &value)| push(at, value));
                    }
                }
            }
            Self::Sparse { index, values } => {
                if let Some(values) = values.filter(|v| v.len() != index.len()) {
                    let expected = format!("({},), one for each index", index.len());
                    return Err(Error::shape("stream", "values", &[values.len()], expected));
                }
                if let Some(wrong) = index.iter().find(|&&k| k < 0 || k as usize >= dims.len()) {
                    let problem = format!(
                        "index {wrong} is outside the input, expected 0 to {} for {}",
                        dims.len().saturating_sub(1),
                        shown(shape)
                    );
                    return Err(Error::input("stream", problem));
                }
                for (n, &k) in index.iter().enumerate() {
                    push(k as usize, values.map_or(1.0, |v| v[n]));
                }
            }
        }
        mixer.join(true, out, |_, events| {
            let value = events.fold(0.0, |sum: f32, (value, _)| sum + value);
            (value != 0.0).then(|| (value, multiplicity_of(value)))
        });
        out.plain();
        Ok(())
    }
}

fn shown(shape: &[usize]) -> String {
    crate::error::tuple(shape)
}
