//! Floats that begin on a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// A fixed number of f32 whose first lies on a cache line: rows of whole lines then never
/// straddle two, which costs wide loads half their speed.
#[derive(Debug)]
pub struct Aligned {
    data: Vec<f32>,
    first: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let slack = LINE / size_of::<f32>();
        let data = vec![0.0; len + slack];
        let first = data.as_ptr().align_offset(LINE).min(slack);
        Self { data, first, len }
    }
}

/// Floats that begin on a line of their own.
impl Clone for Aligned {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.first..self.first + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.first..self.first + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_on_a_line_and_is_as_long_as_asked() {
        for len in [0, 1, 7, 1000] {
            let mut floats = Aligned::zeros(len);
            floats.fill(1.0);
            assert_eq!(floats.len(), len);
            assert_eq!(floats.as_ptr().align_offset(LINE), 0);
        }
    }
}
