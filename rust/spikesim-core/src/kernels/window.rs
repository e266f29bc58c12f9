//! The windows of pooling layers, one axis at a time.

/// Channels, rows, columns of a value. One-dimensional values have one row; vectors one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Dims {
    pub c: usize,
    pub h: usize,
    pub w: usize,
}

impl Dims {
    /// How a value of `shape` (C order, no batch axis) lies in channels, rows and columns.
    pub fn of(shape: &[usize]) -> Self {
        match *shape {
            [] => Dims { c: 1, h: 1, w: 1 },
            [c] => Dims { c, h: 1, w: 1 },
            [c, w] => Dims { c, h: 1, w },
            [c, h, w] => Dims { c, h, w },
            [c, ref rest @ ..] => Dims { c, h: 1, w: rest.iter().product() },
        }
    }

    /// Rows times columns.
    pub fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// All elements.
    pub fn len(&self) -> usize {
        self.c * self.pixels()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One window on one axis: input `start..end`, and what it counts for in an average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First input position.
    pub start: usize,
    /// One past the last input position.
    pub end: usize,
    /// Positions of the kernel, padding included (what ceil_mode adds past it is nothing).
    pub full: usize,
    /// This axis' factor of the divisor.
    pub divisor: usize,
}

/// The windows of a layer on both axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Rows.
    pub y: Vec<Span>,
    /// Columns.
    pub x: Vec<Span>,
}

/// Windows of a pool with `n` inputs and `out` outputs on one axis; average divisors count
/// padding when `include_pad` (but never what ceil_mode adds past the padding, as in torch).
pub fn pool_axis(
    n: usize,
    out: usize,
    kernel: usize,
    stride: usize,
    [before, after]: [usize; 2],
    include_pad: bool,
) -> Vec<Span> {
    (0..out)
        .map(|o| {
            let from = o * stride;
            let to = (from + kernel).min(n + before + after);
            let start = from.max(before).min(n + before) - before;
            let end = to.max(before).min(n + before) - before;
            let divisor = if include_pad { to - from } else { end - start };
            Span { start, end, full: to - from, divisor }
        })
        .collect()
}

/// torch's adaptive windows.
pub fn adaptive_axis(n: usize, out: usize) -> Vec<Span> {
    (0..out)
        .map(|o| {
            let (start, end) = (o * n / out, ((o + 1) * n).div_ceil(out));
            Span { start, end, full: end - start, divisor: end - start }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_clip_at_the_padding() {
        let spans = pool_axis(5, 3, 2, 2, [0, 0], true);
        assert_eq!(spans[2], Span { start: 4, end: 5, full: 1, divisor: 1 });
        let spans = pool_axis(4, 3, 2, 2, [1, 1], false);
        assert_eq!(spans[0], Span { start: 0, end: 1, full: 2, divisor: 1 });
        let spans = pool_axis(4, 3, 2, 2, [1, 1], true);
        assert_eq!(spans[0], Span { start: 0, end: 1, full: 2, divisor: 2 });
        assert_eq!(spans[2], Span { start: 3, end: 4, full: 2, divisor: 2 });
    }

    #[test]
    fn adaptive_windows_overlap_where_they_must() {
        let spans: Vec<_> = adaptive_axis(5, 3).iter().map(|s| (s.start, s.end)).collect();
        assert_eq!(spans, [(0, 2), (1, 4), (3, 5)]);
    }
}
