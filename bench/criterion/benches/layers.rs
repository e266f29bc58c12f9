//! Layers of VGG-16 at 10 % input, T = 4, 16 samples, one thread, f32 and i8: synaptic operations a second.
//!
//! `cargo bench -p spikesim-bench`, or a part of it: `cargo bench -p spikesim-bench -- 512`.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use spikesim_bench::{layer, spikes};
use spikesim_core::kernels::level::Level;
use spikesim_core::plan::{Plan, Precision};
use spikesim_core::runtime::{Control, Input, Options, Simulator};

const STEPS: usize = 4;
const RATE: f32 = 0.1;

fn layers(c: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let mut group = c.benchmark_group("layer");
    for (channels, size, samples) in [
        (64, 32, 16),
        (128, 16, 16),
        (256, 8, 16),
        (512, 4, 16),
        (512, 2, 16),
        (4096, 0, 16),
        (512, 4, 1),
    ] {
        let graph = layer(channels, size, 1).expect("a layer");
        let len = channels * size.max(1).pow(2);
        let data = spikes(STEPS, samples, len, RATE, 2);
        let input = Input { data: &data, samples, steps: STEPS, constant: false };
        let precisions = [Precision::F32, Precision::I8(Default::default())];
        let levels = Level::available();
        for (level, precision) in
            levels.iter().flat_map(|l| precisions.iter().map(move |p| (*l, p)))
        {
            let plan = Arc::new(Plan::new(&graph, level, precision).expect("a plan"));
            let mut simulator = Simulator::new(plan);
            let mut run = || {
                let (options, control) = (Options::default(), Control::default());
                pool.install(|| simulator.run(&input, &options, &control)).expect("a run")
            };
            let synops = run().counts.layers[0].1.synops.iter().sum();
            group.throughput(Throughput::Elements(synops));
            let precision = precision.name();
            let name = format!("{channels}x{size} N={samples} {} {precision}", level.name());
            group.bench_function(name, |b| b.iter(&mut run));
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(1)).warm_up_time(std::time::Duration::from_millis(300));
    targets = layers
}
criterion_main!(benches);
