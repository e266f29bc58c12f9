//! `_core.ConvNet`: convolutional STDP. `spikesim.learn.ConvSTDP` is its face.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use spikesim_core::kernels::level::Level;
use spikesim_core::learn::conv::{self, Encoder, Features, Shape, Spec};
use spikesim_core::runtime::workers::{Workers, default_threads};
use spikesim_core::{Error, Result};

use super::exclusive;
use crate::array::copied;
use crate::error::{attached, detached};

/// How long work goes on before signals are looked at.
const POLL: Duration = Duration::from_millis(50);

/// (t, map, y, x, v)
type Winner = (u16, u16, u16, u16, f32);

struct Inner {
    net: conv::ConvNet,
    workers: Workers,
}

/// An encoder, layers, and their weights.
#[pyclass(frozen, module = "spikesim._core")]
pub struct ConvNet {
    inner: Mutex<Inner>,
    threads: usize,
    image_len: usize,
}

impl ConvNet {
    fn take(&self) -> PyResult<MutexGuard<'_, Inner>> {
        exclusive(
            &self.inner,
            "ConvSTDP: it is at work in another thread, expected one call at a time",
        )
    }
}

#[pymethods]
impl ConvNet {
    #[new]
    #[pyo3(signature = (image, filter, center, min_response, bins, layers_json, level=None, threads=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        image: Shape,
        filter: PyReadonlyArrayDyn<'_, f32>,
        center: f32,
        min_response: f32,
        bins: usize,
        layers_json: &str,
        level: Option<&str>,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let filter = copied(py, "X", &filter)?;
        attached(py, || {
            let level = Level::chosen(level)?;
            let layers: Vec<Spec> = serde_json::from_str(layers_json)
                .map_err(|e| Error::input("layers", format!("the description is wrong: {e}")))?;
            let size = filter.len().isqrt();
            let encoder = Encoder { image, filter, size, center, min_response, bins };
            let image_len = encoder.image_len();
            let net = conv::ConvNet::new(image, encoder, &layers, level)?;
            let threads = threads.unwrap_or_else(default_threads);
            let inner = Mutex::new(Inner { net, workers: Workers::default() });
            Ok(Self { inner, threads, image_len })
        })
    }

    /// Shapes (maps, rows, columns) of the encoder's spikes and of each layer's.
    fn shapes(&self) -> PyResult<Vec<Shape>> {
        Ok(self.take()?.net.shapes().to_vec())
    }

    /// The weights of a layer (maps, channels, rows, columns) and how many samples it learned from.
    fn weight<'py>(
        &self,
        py: Python<'py>,
        layer: usize,
    ) -> PyResult<(Bound<'py, PyArrayDyn<f32>>, u64)> {
        let mut inner = self.take()?;
        let (weight, shape, seen) = attached(py, || {
            let conv = inner.net.conv_mut(layer)?;
            Ok((conv.weight(), conv.weight_shape(), conv.seen()))
        })?;
        Ok((PyArray1::from_vec(py, weight).reshape(shape.to_vec())?, seen))
    }

    /// Take what `weight` gave.
    fn set_weight(
        &self,
        py: Python<'_>,
        layer: usize,
        weight: PyReadonlyArrayDyn<'_, f32>,
        seen: u64,
    ) -> PyResult<()> {
        let shape = weight.as_array().shape().to_vec();
        let weight = copied(py, "X", &weight)?;
        let mut inner = self.take()?;
        attached(py, || {
            let conv = inner.net.conv_mut(layer)?;
            let expected = conv.weight_shape();
            if shape != expected {
                let expected = spikesim_core::error::tuple(&expected);
                return Err(Error::shape(format!("layers[{layer}]"), "weight", &shape, expected));
            }
            conv.set(&weight, seen);
            Ok(())
        })
    }

    /// Learn from images (N, channels, rows, columns) in their order, `batch_size` at a time.
    /// Interrupted, the batches before stay learned. Gives the number of winners.
    #[pyo3(signature = (layer, x, batch_size, progress=None))]
    fn learn(
        &self,
        py: Python<'_>,
        layer: usize,
        x: PyReadonlyArrayDyn<'_, f32>,
        batch_size: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<usize> {
        let x = copied(py, "X", &x)?;
        let mut inner = self.take()?;
        let Inner { net, workers } = &mut *inner;
        let pool = attached(py, || workers.pool(self.threads))?;
        let mut winners = 0;
        let mut rest = &x[..];
        while !rest.is_empty() {
            let done = detached(py, || {
                pool.install(|| {
                    let begin = Instant::now();
                    let mut done = 0;
                    for batch in rest.chunks(batch_size * self.image_len) {
                        winners += net.learn(batch, layer)?;
                        done += batch.len();
                        if begin.elapsed() > POLL {
                            break;
                        }
                    }
                    Ok(done)
                })
            })?;
            rest = &rest[done..];
            if let Some(progress) = &progress {
                progress.call1(py, (done / self.image_len,))?;
            }
            py.check_signals()?;
        }
        Ok(winners)
    }

    /// The winners (t, map, y, x, v) that each image has, without learning from it.
    fn winners(
        &self,
        py: Python<'_>,
        layer: usize,
        x: PyReadonlyArrayDyn<'_, f32>,
    ) -> PyResult<Vec<Vec<Winner>>> {
        let x = copied(py, "X", &x)?;
        let mut inner = self.take()?;
        let Inner { net, workers } = &mut *inner;
        let pool = attached(py, || workers.pool(self.threads))?;
        let found = detached(py, || pool.install(|| net.winners(&x, layer)))?;
        let plain = |w: conv::Winner| (w.t, w.map, w.y, w.x, w.v);
        Ok(found.into_iter().map(|list| list.into_iter().map(plain).collect()).collect())
    }

    /// Features (N, n) of images (N, channels, rows, columns): "spike", "latency", "potential".
    #[pyo3(signature = (x, features, progress=None))]
    fn transform<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArrayDyn<'py, f32>,
        features: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let x = copied(py, "X", &x)?;
        let features = match features {
            "latency" => Features::Latency,
            "potential" => Features::Potential,
            _ => Features::Spike,
        };
        let mut inner = self.take()?;
        let Inner { net, workers } = &mut *inner;
        let pool = attached(py, || workers.pool(self.threads))?;
        let (samples, n) = (x.len() / self.image_len, net.n_features());
        let mut out = vec![0.0; samples * n];
        // Grown until a piece takes about as long as signals may wait.
        let (mut at, mut piece) = (0, 16);
        while at < samples {
            let end = samples.min(at + piece);
            let begin = Instant::now();
            let images = &x[at * self.image_len..end * self.image_len];
            let to = &mut out[at * n..end * n];
            detached(py, || {
                pool.install(|| net.transform(images, features, to));
                Result::Ok(())
            })?;
            if begin.elapsed() < POLL {
                piece *= 2;
            }
            if let Some(progress) = &progress {
                progress.call1(py, (end - at,))?;
            }
            py.check_signals()?;
            at = end;
        }
        PyArray1::from_vec(py, out).reshape(vec![samples, n])
    }

    /// The spikes that the encoder (`upto` 0) or the layers before `upto` make of one image:
    /// columns t, channel, y, x.
    fn spikes<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArrayDyn<'py, f32>,
        upto: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let x = copied(py, "X", &x)?;
        let inner = self.take()?;
        let volley = detached(py, || Ok(inner.net.spikes(&x, upto)))?;
        let mut columns = [const { Vec::new() }; 4];
        for t in 0..volley.bins() {
            for s in volley.at(t) {
                for (column, value) in columns.iter_mut().zip([t as u16, s.c, s.y, s.x]) {
                    column.push(value);
                }
            }
        }
        PyTuple::new(py, columns.map(|column| PyArray1::from_vec(py, column).into_any()))
    }
}
