//! The spikes of one sample, bin by bin.

use crate::kernels::spread::Spike;

/// No spike.
pub const NEVER: u8 = u8::MAX;

/// Spikes in ascending (bin, y, x, c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volley {
    spikes: Vec<Spike>,
    /// Where each bin begins, and the end.
    starts: Vec<usize>,
}

impl Volley {
    /// No bins yet.
    pub fn clear(&mut self) {
        self.spikes.clear();
        self.starts.clear();
        self.starts.push(0);
    }

    /// A spike of the bin that is open; the caller keeps the order.
    pub fn push(&mut self, spike: Spike) {
        self.spikes.push(spike);
    }

    /// Close the open bin.
    pub fn close_bin(&mut self) {
        self.starts.push(self.spikes.len());
    }

    /// The spikes of bin `t`.
    pub fn at(&self, t: usize) -> &[Spike] {
        match self.starts.get(t..t + 2) {
            Some(ends) => &self.spikes[ends[0]..ends[1]],
            None => &[],
        }
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// All spikes.
    pub fn len(&self) -> usize {
        self.spikes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spikes.is_empty()
    }

    /// The spikes of `times` `[y][x][c]`, one a neuron at most.
    pub fn set(&mut self, times: &[u8], width: usize, channels: usize, bins: usize) {
        self.starts.clear();
        self.starts.resize(bins + 1, 0);
        for &t in times {
            if t != NEVER {
                self.starts[usize::from(t) + 1] += 1;
            }
        }
        for t in 0..bins {
            self.starts[t + 1] += self.starts[t];
        }
        self.spikes.clear();
        self.spikes.resize(self.starts[bins], Spike { y: 0, x: 0, c: 0 });
        let mut next = self.starts.clone();
        for (place, times) in times.chunks_exact(channels).enumerate() {
            for (c, &t) in times.iter().enumerate() {
                if t != NEVER {
                    let at = &mut next[usize::from(t)];
                    let (y, x) = ((place / width) as u16, (place % width) as u16);
                    self.spikes[*at] = Spike { y, x, c: c as u16 };
                    *at += 1;
                }
            }
        }
    }
}
