//! Numbers that begin on a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// A fixed number of numbers whose first lies on a cache line: rows of whole lines then never
/// straddle two, which costs wide loads half their speed.
#[derive(Debug)]
pub struct Aligned<T = f32> {
    data: Vec<T>,
    first: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let slack = LINE / size_of::<T>();
        let data = vec![T::default(); len + slack];
        let first = data.as_ptr().align_offset(LINE).min(slack);
        Self { data, first, len }
    }
}

/// Numbers that begin on a line of their own.
impl<T: Copy + Default> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data[self.first..self.first + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
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
            let bytes: Aligned<i8> = Aligned::zeros(len);
            assert_eq!((bytes.len(), bytes.as_ptr().align_offset(LINE)), (len, 0));
        }
    }
}
