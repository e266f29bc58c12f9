//! Layers without weights on dense values, `[pixel][channel]` a step: the plain way for what
//! the block kernel does not fuse.

use super::window::{Dims, Windows};

/// Sum, average or largest value of each window; sums in (ky, kx) order from zero, then divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PoolMode {
    Sum,
    Average,
    Max,
}

/// Pool one step; `out` is `[window][channel]`.
pub fn pool(src: &[f32], dims: Dims, windows: &Windows, mode: PoolMode, out: &mut [f32]) {
    let start = if mode == PoolMode::Max { f32::NEG_INFINITY } else { 0.0 };
    for (oy, wy) in windows.y.iter().enumerate() {
        for (ox, wx) in windows.x.iter().enumerate() {
            let at = (oy * windows.x.len() + ox) * dims.c;
            let sums = &mut out[at..at + dims.c];
            sums.fill(start);
            for y in wy.start..wy.end {
                for x in wx.start..wx.end {
                    let values = &src[(y * dims.w + x) * dims.c..][..dims.c];
                    for (sum, &value) in sums.iter_mut().zip(values) {
                        *sum = if mode == PoolMode::Max { sum.max(value) } else { *sum + value };
                    }
                }
            }
            if mode == PoolMode::Average {
                let size = (wy.divisor * wx.divisor) as f32;
                sums.iter_mut().for_each(|s| *s /= size);
            }
        }
    }
}

/// The same elements in C order under other dims.
pub fn reshape(src: &[f32], from: Dims, to: Dims, out: &mut [f32]) {
    let (pixels, out_pixels) = (from.pixels(), to.pixels());
    for p in 0..pixels {
        for c in 0..from.c {
            let flat = c * pixels + p;
            out[(flat % out_pixels) * to.c + flat / out_pixels] = src[p * from.c + c];
        }
    }
}

/// Nearest-neighbour repetition.
pub fn upsample(src: &[f32], from: Dims, to: Dims, [fy, fx]: [usize; 2], out: &mut [f32]) {
    for y in 0..to.h {
        for x in 0..to.w {
            let p = (y / fy) * from.w + x / fx;
            out[(y * to.w + x) * to.c..][..to.c].copy_from_slice(&src[p * from.c..][..from.c]);
        }
    }
}

/// Copy one source of a concatenation to its place; `at` is its first (channel, row, column).
pub fn place(src: &[f32], from: Dims, to: Dims, at: [usize; 3], out: &mut [f32]) {
    for y in 0..from.h {
        for x in 0..from.w {
            let p = (y + at[1]) * to.w + x + at[2];
            out[p * to.c + at[0]..][..from.c]
                .copy_from_slice(&src[(y * from.w + x) * from.c..][..from.c]);
        }
    }
}

/// From blocks `[block][pixel][lane]` (one step, blocks `stride` apart) to `[pixel][channel]`.
pub fn unblock(src: &[f32], stride: usize, width: usize, dims: Dims, out: &mut [f32]) {
    for block in 0..dims.c.div_ceil(width) {
        let first = block * width;
        let lanes = width.min(dims.c - first);
        for p in 0..dims.pixels() {
            out[p * dims.c + first..][..lanes]
                .copy_from_slice(&src[block * stride + p * width..][..lanes]);
        }
    }
}

/// From `[pixel][channel]` to C order.
pub fn to_c_order(src: &[f32], dims: Dims, out: &mut [f32]) {
    let pixels = dims.pixels();
    for p in 0..pixels {
        for c in 0..dims.c {
            out[c * pixels + p] = src[p * dims.c + c];
        }
    }
}

/// Rows of one sample in C order, appended from a block-major chunk `[block][t][pixel][lane]`.
pub fn append_raster(out: &mut Vec<f32>, blocked: &[f32], steps: usize, width: usize, dims: Dims) {
    let step = dims.pixels() * width;
    let mut row = vec![0.0; dims.len()];
    for t in 0..steps {
        unblock(&blocked[t * step..], steps * step, width, dims, &mut row);
        let at = out.len();
        out.resize(at + dims.len(), 0.0);
        to_c_order(&row, dims, &mut out[at..]);
    }
}

/// From C order to `[pixel][channel]`.
pub fn from_c_order(src: &[f32], dims: Dims, out: &mut [f32]) {
    let pixels = dims.pixels();
    for c in 0..dims.c {
        for p in 0..pixels {
            out[p * dims.c + c] = src[c * pixels + p];
        }
    }
}
