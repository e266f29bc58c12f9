//! What one node gives in one step of a stream: its events and nothing for what is silent.

use crate::kernels::events::{Event, Events, Multiplicity};
use crate::kernels::gather::SparseList;
use crate::kernels::window::Dims;

/// The events of one step, sorted by pixel, then channel. Unless `graded`, each has value 1 and
/// counts as one spike.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    dims: Dims,
    graded: bool,
    at: Vec<u32>,
    val: Vec<f32>,
    mult: Vec<Multiplicity>,
    rows: Vec<u32>,
}

impl Frame {
    /// Silence.
    pub(super) fn new(dims: Dims) -> Self {
        Self {
            dims,
            graded: false,
            at: Vec::new(),
            val: Vec::new(),
            mult: Vec::new(),
            rows: vec![0; dims.h + 1],
        }
    }

    /// Forget the events; they will be `graded` or not.
    pub(super) fn clear(&mut self, graded: bool) {
        if !self.at.is_empty() {
            self.rows.fill(0);
        }
        self.graded = graded;
        self.at.clear();
        self.val.clear();
        self.mult.clear();
    }

    /// Append an event at `pixel · channels + channel`; these ascend.
    pub(super) fn push(&mut self, at: u32, value: f32, mult: Multiplicity) {
        self.at.push(at);
        if self.graded {
            self.val.push(value);
            self.mult.push(mult);
        }
    }

    /// Nothing more comes: find the rows.
    pub(super) fn finish(&mut self) {
        if self.at.is_empty() {
            return;
        }
        let row = (self.dims.w * self.dims.c).max(1);
        let mut from = 0;
        for (y, end) in self.rows[1..].iter_mut().enumerate() {
            let to = (y + 1) * row;
            while from < self.at.len() && (self.at[from] as usize) < to {
                from += 1;
            }
            *end = from as u32;
        }
    }

    /// Events of value 1 need no values.
    pub(super) fn plain(&mut self) {
        if self.graded && self.val.iter().all(|&x| x == 1.0) {
            self.graded = false;
            self.val.clear();
            self.mult.clear();
        }
    }

    pub(super) fn dims(&self) -> Dims {
        self.dims
    }

    pub(super) fn is_graded(&self) -> bool {
        self.graded
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// `pixel · channels + channel` of each event.
    pub(super) fn places(&self) -> &[u32] {
        &self.at
    }

    /// Place, value and multiplicity of each event.
    pub(super) fn events(&self) -> impl Iterator<Item = (u32, f32, Multiplicity)> + '_ {
        self.at.iter().enumerate().map(|(k, &at)| match self.graded {
            true => (at, self.val[k], self.mult[k]),
            false => (at, 1.0, [1, 0]),
        })
    }

    /// The kernels' view.
    pub(super) fn list(&self) -> SparseList<'_> {
        SparseList { dims: self.dims, at: &self.at, val: &self.val, rows: &self.rows }
    }

    /// As one more step of `out`.
    pub(super) fn append_to(&self, out: &mut Events) {
        if self.graded {
            out.promote();
        }
        let mut next = self.events().peekable();
        for p in 0..self.dims.pixels() {
            let end = ((p + 1) * self.dims.c) as u32;
            while let Some((at, value, mult)) = next.next_if(|&(at, ..)| at < end) {
                let c = at as usize - p * self.dims.c;
                out.push(p % self.dims.w, Event { c, value, mult });
            }
            out.end_pixel();
        }
    }

    /// Step `t` of `events`.
    pub(super) fn read(&mut self, events: &Events, t: usize) {
        self.clear(events.is_graded());
        if !events.range(t).is_empty() {
            for p in 0..self.dims.pixels() {
                for e in events.pixel(t, p) {
                    self.push((p * self.dims.c + e.c) as u32, e.value, e.mult);
                }
            }
        }
        self.finish();
    }
}

/// Events on their way to new places, in any order.
#[derive(Debug, Default)]
pub(super) struct Mixer {
    /// Place, then order of arrival.
    keys: Vec<u64>,
    events: Vec<(f32, Multiplicity)>,
}

impl Mixer {
    pub(super) fn push(&mut self, at: u32, value: f32, mult: Multiplicity) {
        self.keys.push(u64::from(at) << 32 | self.events.len() as u64);
        self.events.push((value, mult));
    }

    fn sort(&mut self) {
        if !self.keys.is_sorted() {
            self.keys.sort_unstable();
        }
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.events.clear();
    }

    /// Each event at its place; no two share one.
    pub(super) fn place(&mut self, graded: bool, out: &mut Frame) {
        self.sort();
        out.clear(graded);
        for &key in &self.keys {
            let (value, mult) = self.events[key as u32 as usize];
            out.push((key >> 32) as u32, value, mult);
        }
        out.finish();
        self.clear();
    }

    /// The events of a place in their order of arrival become what `join` makes of them.
    pub(super) fn join(
        &mut self,
        graded: bool,
        out: &mut Frame,
        join: impl Fn(u32, &mut dyn Iterator<Item = (f32, Multiplicity)>) -> Option<(f32, Multiplicity)>,
    ) {
        self.sort();
        out.clear(graded);
        for same in self.keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            let at = (same[0] >> 32) as u32;
            let mut events = same.iter().map(|&key| self.events[key as u32 as usize]);
            if let Some((value, mult)) = join(at, &mut events) {
                out.push(at, value, mult);
            }
        }
        out.finish();
        self.clear();
    }

    /// The sum of the events of each place, as [`Self::join`].
    pub(super) fn sum(&mut self, graded: bool, out: &mut Frame) {
        self.join(graded, out, |_, events| Some(total(events)));
    }
}

/// The sum from zero, each event counting by itself.
pub(super) fn total(events: &mut dyn Iterator<Item = (f32, Multiplicity)>) -> (f32, Multiplicity) {
    events.fold((0.0, [0, 0]), |(sum, mult), (value, [spikes, analog])| {
        (sum + value, [mult[0].saturating_add(spikes), mult[1].saturating_add(analog)])
    })
}
