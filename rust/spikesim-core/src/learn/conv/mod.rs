//! Convolutional STDP after Kheradpisheh et al. (2018): one spike a neuron, earliest spikes win,
//! winners learn (rules S13). Event-driven: a spike is added to the potentials around it, and
//! learning stops at the step in which the last winner is known.
//!
//! Samples do not see each other but through the weights, so any number of threads gives the
//! same bits: winners of a batch are found with the weights from before it, and the weights then
//! change sample by sample.

mod encode;
mod layer;
mod learn;
mod volley;

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::kernels::level::Level;
use crate::kernels::spread::Area;
use crate::{Error, Result};
pub use encode::Encoder;
pub use layer::{Conv, Layer, Pool};
use learn::Lesson;
pub use learn::{Rule, Winner};
pub use volley::Volley;

use encode::EncodeScratch;
use layer::Scratch;

/// Maps, rows, columns.
pub type Shape = [usize; 3];

/// What a sample is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// 1 where the neuron has spiked.
    Spike,
    /// `(bins − t)/bins` for a spike in bin `t`, 0 without one.
    Latency,
    /// The potential that all input has left.
    Potential,
}

/// An encoder and layers of spikes.
#[derive(Debug)]
pub struct ConvNet {
    encoder: Encoder,
    /// Shape of the encoder's spikes, then of each layer's.
    shapes: Vec<Shape>,
    layers: Vec<Layer>,
    level: Level,
    /// Work spaces that no thread has at the moment.
    idle: Mutex<Vec<Worker>>,
}

/// What a layer's description says.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Spec {
    Conv {
        maps: usize,
        kernel: usize,
        padding: usize,
        threshold: f32,
        lateral: bool,
        winners: usize,
        radius: usize,
        rule: Rule,
    },
    Pool {
        kernel: usize,
        stride: usize,
        padding: usize,
    },
}

/// The work space of one thread.
#[derive(Debug)]
struct Worker {
    encode: EncodeScratch,
    layers: Vec<Scratch>,
    volleys: Vec<Volley>,
}

/// A worker that goes back to the idle ones.
struct Borrowed<'a> {
    net: &'a ConvNet,
    worker: Option<Worker>,
}

impl Deref for Borrowed<'_> {
    type Target = Worker;

    #[allow(clippy::expect_used)]
    fn deref(&self) -> &Worker {
        self.worker.as_ref().expect("held until the drop")
    }
}

impl DerefMut for Borrowed<'_> {
    #[allow(clippy::expect_used)]
    fn deref_mut(&mut self) -> &mut Worker {
        self.worker.as_mut().expect("held until the drop")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut idle = self.net.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.worker.take());
    }
}

impl ConvNet {
    /// A net for images of `image` (channels, rows, columns); weights are zero.
    pub fn new(image: Shape, encoder: Encoder, specs: &[Spec], level: Level) -> Result<Self> {
        let mut shapes = vec![encoder.shape(image)];
        let mut layers = Vec::new();
        for (n, spec) in specs.iter().enumerate() {
            let [c, h, w] = shapes[n];
            let place = format!("layers[{n}]");
            let fits = |kernel: usize, padding: usize| {
                if kernel > h + 2 * padding || kernel > w + 2 * padding {
                    let problem = format!(
                        "kernel is {kernel}, expected at most its padded input of {}x{}",
                        h + 2 * padding,
                        w + 2 * padding
                    );
                    return Err(Error::input(place.clone(), problem));
                }
                Ok(())
            };
            let layer = match *spec {
                Spec::Conv { maps, kernel, padding, .. } => {
                    fits(kernel, padding)?;
                    let area = Area { in_h: h, in_w: w, in_c: c, kernel, pad: padding, maps };
                    let sizes = [area.packed_len(), area.places().saturating_mul(area.lanes())];
                    if maps > 1 << 15 || sizes.iter().any(|&n| n > 1 << 28) {
                        let problem = format!("maps is {maps}, expected a layer that fits memory");
                        return Err(Error::input(place, problem));
                    }
                    Layer::Conv(Conv::new(area, spec))
                }
                Spec::Pool { kernel, stride, padding } => {
                    fits(kernel, padding)?;
                    Layer::Pool(Pool::new([c, h, w], kernel, stride, padding))
                }
            };
            shapes.push(layer.shape());
            layers.push(layer);
        }
        if shapes.iter().flatten().any(|&n| n > usize::from(u16::MAX)) {
            return Err(Error::input("X", "an axis is longer than 65535, expected smaller images"));
        }
        Ok(Self { encoder, shapes, layers, level, idle: Mutex::new(Vec::new()) })
    }

    /// Shapes of the encoder's spikes and of each layer's.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The convolution at `layer`.
    pub fn conv_mut(&mut self, layer: usize) -> Result<&mut Conv> {
        match self.layers.get_mut(layer) {
            Some(Layer::Conv(conv)) => Ok(conv),
            _ => Err(Error::input("layer", format!("{layer} is no STDPConv, expected one"))),
        }
    }

    fn worker(&self) -> Borrowed<'_> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let worker = idle.unwrap_or_else(|| Worker {
            encode: self.encoder.scratch(self.shapes[0]),
            layers: self.layers.iter().map(Layer::scratch).collect(),
            volleys: self.shapes.iter().map(|_| Volley::default()).collect(),
        });
        Borrowed { net: self, worker: Some(worker) }
    }

    /// The spikes that layer `upto` takes, in `worker.volleys[upto]`.
    fn forward(&self, image: &[f32], upto: usize, worker: &mut Worker) {
        self.encoder.encode(self.level, image, &mut worker.encode, &mut worker.volleys[0]);
        for (n, layer) in self.layers[..upto].iter().enumerate() {
            let (before, after) = worker.volleys.split_at_mut(n + 1);
            layer.run(self.level, &before[n], &mut worker.layers[n], &mut after[0]);
        }
    }

    /// The spikes of the encoder (0) or of layer `upto − 1` for one image.
    pub fn spikes(&self, image: &[f32], upto: usize) -> Volley {
        let mut worker = self.worker();
        self.forward(image, upto, &mut worker);
        worker.volleys[upto].clone()
    }

    /// Values of one sample's features.
    pub fn n_features(&self) -> usize {
        self.shapes.last().map_or(0, |shape| shape.iter().product())
    }

    /// Features of `images`, one after the other, `(map, row, column)` each.
    pub fn transform(&self, images: &[f32], features: Features, out: &mut [f32]) {
        let (n_in, n_out) = (self.encoder.image_len(), self.n_features());
        let upto = self.layers.len();
        images.par_chunks(n_in).zip(out.par_chunks_mut(n_out)).for_each_init(
            || self.worker(),
            |worker, (image, out)| {
                self.forward(image, upto, worker);
                match features {
                    Features::Potential => self.potentials(worker, out),
                    _ => self.of_spikes(&worker.volleys[upto], features, out),
                }
            },
        );
    }

    fn of_spikes(&self, volley: &Volley, features: Features, out: &mut [f32]) {
        let [_, h, w] = *self.shapes.last().unwrap_or(&[0; 3]);
        let bins = self.encoder.bins;
        out.fill(0.0);
        for t in 0..bins {
            let value = match features {
                Features::Latency => (bins - t) as f32 / bins as f32,
                _ => 1.0,
            };
            for s in volley.at(t) {
                out[(usize::from(s.c) * h + usize::from(s.y)) * w + usize::from(s.x)] = value;
            }
        }
    }

    /// The last convolution's potentials; pools after it take the largest.
    fn potentials(&self, worker: &Worker, out: &mut [f32]) {
        let mut values = Vec::new();
        for (layer, scratch) in self.layers.iter().zip(&worker.layers) {
            match (layer, scratch) {
                (Layer::Conv(conv), Scratch::Conv(at)) => {
                    values = conv.potentials(&at.potentials);
                }
                (Layer::Pool(pool), _) => values = pool.largest(&values),
                (Layer::Conv(_), Scratch::Pool(_)) => {}
            }
        }
        out.copy_from_slice(&values);
    }

    /// What each image's winners would learn, with the weights as they are.
    fn lessons(&self, images: &[f32], layer: usize) -> Result<Vec<Vec<Lesson>>> {
        let Some(Layer::Conv(conv)) = self.layers.get(layer) else {
            return Err(Error::input("layer", format!("{layer} is no STDPConv, expected one")));
        };
        let find = |worker: &mut Borrowed<'_>, image: &[f32]| {
            let worker = &mut **worker;
            self.forward(image, layer, worker);
            let Scratch::Conv(scratch) = &mut worker.layers[layer] else { return Vec::new() };
            conv.winners(self.level, &worker.volleys[layer], scratch)
        };
        let images = images.par_chunks(self.encoder.image_len());
        Ok(images.map_init(|| self.worker(), find).collect())
    }

    /// The winners of each image.
    pub fn winners(&self, images: &[f32], layer: usize) -> Result<Vec<Vec<Winner>>> {
        let plain = |list: Vec<Lesson>| list.into_iter().map(|lesson| lesson.winner).collect();
        Ok(self.lessons(images, layer)?.into_iter().map(plain).collect())
    }

    /// One batch: the winners of `images` with the weights as they are, then the weights change,
    /// sample by sample. Gives the number of winners.
    pub fn learn(&mut self, images: &[f32], layer: usize) -> Result<usize> {
        let lessons = self.lessons(images, layer)?;
        let conv = self.conv_mut(layer)?;
        for of_sample in &lessons {
            conv.update(of_sample);
        }
        Ok(lessons.iter().map(Vec::len).sum())
    }
}
