//! Images as spikes: an on/off filter, then the rank of each response as its time (S13.1, S13.2).

use super::Shape;
use super::volley::{NEVER, Volley};
use crate::kernels::filter::Canvas;
use crate::kernels::level::Level;

/// How an image becomes spikes.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// The image's channels, rows, columns.
    pub image: Shape,
    /// `size·size` weights.
    pub filter: Vec<f32>,
    /// Odd.
    pub size: usize,
    /// Taken from each response; in units of the image's largest magnitude.
    pub center: f32,
    /// Responses above it spike; in the same units.
    pub min_response: f32,
    /// Time steps, at most 254.
    pub bins: usize,
}

/// What encoding needs beside the encoder.
#[derive(Debug)]
pub struct EncodeScratch {
    canvas: Canvas,
    response: Vec<f32>,
    /// Responses to sort: larger ones first, then lower indices.
    keys: Vec<u64>,
    times: Vec<u8>,
}

impl Encoder {
    /// Shape of the spikes: an on and an off map a channel.
    pub fn shape(&self, [c, h, w]: Shape) -> Shape {
        [2 * c, h, w]
    }

    /// Values of an image.
    pub fn image_len(&self) -> usize {
        self.image.iter().product()
    }

    /// Work space.
    pub fn scratch(&self, [c, h, w]: Shape) -> EncodeScratch {
        let canvas = Canvas::new(h, w, self.size);
        let response = vec![0.0; h * canvas.out_width()];
        EncodeScratch { canvas, response, keys: Vec::new(), times: vec![NEVER; c * h * w] }
    }

    /// The image's spikes.
    pub fn encode(&self, level: Level, image: &[f32], at: &mut EncodeScratch, out: &mut Volley) {
        let [channels, h, w] = self.image;
        let maps = 2 * channels;
        let scale = image.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        let (center, least) = (self.center * scale, self.min_response * scale);
        at.keys.clear();
        at.times.fill(NEVER);
        for (c, plane) in image.chunks_exact(h * w).enumerate() {
            at.canvas.set(plane);
            at.canvas.filter(level, &self.filter, &mut at.response);
            let width = at.canvas.out_width();
            for (y, row) in at.response.chunks_exact(width).enumerate() {
                for (x, &response) in row[..w].iter().enumerate() {
                    let d = response - center;
                    let size = d.abs();
                    if size > least {
                        let index = (y * w + x) * maps + 2 * c + usize::from(d < 0.0);
                        // A positive float's bits grow with it.
                        at.keys.push((u64::from(!size.to_bits()) << 32) | index as u64);
                    }
                }
            }
        }
        at.keys.sort_unstable();
        let n = at.keys.len();
        for (rank, &key) in at.keys.iter().enumerate() {
            at.times[key as u32 as usize] = (rank * self.bins / n) as u8;
        }
        out.set(&at.times, w, maps, self.bins);
    }
}
