//! Plans and runs through the core alone: what is scheduled, and that level, threads, batch and
//! cuts in time change no bit.

use std::sync::Arc;

use spikesim_core::Error;
use spikesim_core::graph::neuron::{Model, NeuronRules};
use spikesim_core::graph::node::{Conv, Linear, Pool, PoolKind};
use spikesim_core::graph::{Graph, Neuron, Op, Tensor};
use spikesim_core::kernels::level::Level;
use spikesim_core::plan::{Plan, Precision, Stage};
use spikesim_core::runtime::{Control, Input, Options, Output, Record, Simulator, StateData};

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut x = seed.wrapping_mul(2654435761) | 1;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            (x >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    let n = shape.iter().product();
    Tensor::new(shape.to_vec(), numbers(n, seed)).expect("as many values as the shape has")
}

fn lif() -> Op {
    Op::Neuron(Box::new(Neuron {
        rules: NeuronRules { model: Model::LIF, ..NeuronRules::default() },
        v_threshold: Tensor::scalar(0.4),
        alpha_mem: Tensor::scalar(0.9),
        ..Neuron::default()
    }))
}

fn conv(channels: usize, inputs: usize, seed: u32) -> Op {
    Op::Conv(Conv {
        dims: 2,
        weight: tensor(&[channels, inputs, 3, 3], seed),
        bias: Some(tensor(&[channels], seed + 1)),
        delay: None,
        stride: [1, 1],
        padding: [[1, 1], [1, 1]],
        dilation: [1, 1],
        groups: 1,
    })
}

fn pool() -> Op {
    Op::Pool(Pool {
        dims: 2,
        kind: PoolKind::Avg { count_include_pad: true },
        kernel_size: [2, 2],
        stride: [2, 2],
        padding: [[0, 0], [0, 0]],
        ceil_mode: false,
    })
}

/// conv → lif ⟲ → pool → conv → lif → flatten → linear, the first population recurrent.
fn network() -> Result<Graph, Error> {
    let mut graph = Graph::new(&[3, 8, 8])?;
    graph.add("conv1", conv(20, 3, 1), &[])?;
    graph.add("lif1", lif(), &[])?;
    graph.add("back", conv(20, 20, 3), &["lif1"])?;
    graph.connect("back", "lif1", 1)?;
    graph.add("pool", pool(), &["lif1"])?;
    graph.add("conv2", conv(70, 20, 5), &[])?;
    graph.add("lif2", lif(), &[])?;
    graph.add("flat", Op::Flatten { start_dim: 0, end_dim: 2 }, &[])?;
    let weight = tensor(&[10, 70 * 16], 7);
    graph.add("fc", Op::Linear(Linear { weight, bias: None, delay: None }), &[])?;
    Ok(graph)
}

fn run(
    simulator: &mut Simulator,
    threads: usize,
    input: &Input<'_>,
    options: &Options,
) -> Result<Output, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| simulator.run(input, options, &Control::default()))
}

fn everything(plan: &Plan) -> Options {
    let all = Record { spikes: true, v: true, current: true };
    Options { record: plan.populations().map(|(id, ..)| (id, all)).collect(), ..Options::default() }
}

fn fingerprint(out: &Output) -> Vec<u32> {
    let rasters = out.v.values().chain(out.current.values()).flatten();
    let spikes = out.spikes.values().flat_map(|s| s.neuron.iter().map(|&n| n as u32));
    out.values.iter().chain(rasters).map(|x| x.to_bits()).chain(spikes).collect()
}

#[test]
fn cycles_run_step_by_step_and_the_rest_layer_by_layer() -> Result<(), Error> {
    let plan = Plan::new(&network()?, Level::Baseline, &Precision::F32)?;
    let name = |stage: &Stage| match stage {
        Stage::Forward(id) => plan.name(*id).to_string(),
        Stage::Recurrent(ids) => {
            format!("[{}]", ids.iter().map(|&id| plan.name(id)).collect::<Vec<_>>().join(" "))
        }
    };
    let stages: Vec<_> = plan.stages().iter().map(name).collect();
    // conv1 and conv2 are computed by their populations; back carries a delay and is not.
    assert_eq!(stages, ["input", "[lif1 back]", "pool", "lif2", "flat", "fc"]);
    let text = plan.to_string();
    assert!(text.contains("conv1 fused + back"), "{text}");
    assert!(text.contains("step by step"), "{text}");
    Ok(())
}

#[test]
fn level_threads_and_batch_change_no_bit() -> Result<(), Error> {
    let graph = network()?;
    let (samples, steps) = (5, 6);
    let data = numbers(steps * samples * 192, 9);
    let input = Input { data: &data, samples, steps, constant: false };
    let mut first: Option<Vec<u32>> = None;
    for level in Level::available() {
        for threads in [1, 2, 3, 8] {
            for batch_size in [None, Some(1), Some(2)] {
                let plan = Arc::new(Plan::new(&graph, level, &Precision::F32)?);
                let options = Options { batch_size, ..everything(&plan) };
                let out = run(&mut Simulator::new(plan), threads, &input, &options)?;
                let found = fingerprint(&out);
                assert!(out.counts.layers.iter().any(|(_, c)| c.spikes.iter().sum::<u64>() > 0));
                assert_eq!(
                    first.get_or_insert_with(|| found.clone()),
                    &found,
                    "{level:?} {threads}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_saved_state_goes_on_to_the_bit() -> Result<(), Error> {
    let plan = Arc::new(Plan::new(&network()?, Level::best(), &Precision::F32)?);
    let (samples, steps) = (2, 7);
    let data = numbers(steps * samples * 192, 4);
    let options = everything(&plan);
    let whole = Input { data: &data, samples, steps, constant: false };
    let mut simulator = Simulator::new(plan.clone());
    run(&mut simulator, 1, &whole, &options)?;
    let end = simulator.state();
    for cut in 1..steps {
        let (a, b) = data.split_at(cut * samples * 192);
        let mut first = Simulator::new(plan.clone());
        let part = |data, steps| Input { data, samples, steps, constant: false };
        run(&mut first, 2, &part(a, cut), &options)?;
        let mut second = Simulator::new(plan.clone());
        second.load_state(&first.state())?;
        let resume = Options { resume: true, ..options.clone() };
        run(&mut second, 1, &part(b, steps - cut), &resume)?;
        assert_eq!(second.state(), end, "cut at {cut}");
    }
    Ok(())
}

#[test]
fn an_interrupted_run_leaves_the_state_alone() -> Result<(), Error> {
    let plan = Arc::new(Plan::new(&network()?, Level::best(), &Precision::F32)?);
    let data = numbers(2 * 192, 4);
    let input = Input { data: &data, samples: 2, steps: 3, constant: true };
    let mut simulator = Simulator::new(plan);
    run(&mut simulator, 1, &input, &Options::default())?;
    let before = simulator.state();
    let control = Control::default();
    control.stop();
    let options = Options { resume: true, ..Options::default() };
    assert!(matches!(simulator.run(&input, &options, &control), Err(Error::Interrupted)));
    assert_eq!(simulator.state(), before);
    Ok(())
}

#[test]
fn a_foreign_state_is_refused() -> Result<(), Error> {
    let plan = Arc::new(Plan::new(&network()?, Level::best(), &Precision::F32)?);
    let mut simulator = Simulator::new(plan);
    let good = simulator.state();
    let mut missing = good.clone();
    missing.pop();
    assert!(matches!(simulator.load_state(&missing), Err(Error::Input { .. })));
    let mut renamed = good.clone();
    renamed[0].name = "nobody.v".into();
    assert!(simulator.load_state(&renamed).is_err());
    let mut wrong = good.clone();
    wrong[0].shape[1] += 1;
    assert!(matches!(simulator.load_state(&wrong), Err(Error::Shape { .. })));
    let mut nan = good;
    let StateData::F32(values) = &mut nan[0].data else { panic!("membranes of f32") };
    values[0] = f32::NAN;
    assert!(matches!(simulator.load_state(&nan), Err(Error::Input { .. })));
    Ok(())
}

#[test]
fn a_run_without_memory_for_it_is_refused() -> Result<(), Error> {
    let plan = Arc::new(Plan::new(&network()?, Level::best(), &Precision::F32)?);
    let data = numbers(192, 4);
    for steps in [usize::MAX, 1 << 50] {
        let input = Input { data: &data, samples: 1, steps, constant: true };
        let answer =
            Simulator::new(plan.clone()).run(&input, &Options::default(), &Control::default());
        let text = answer.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(text.contains("GiB"), "{text}");
    }
    Ok(())
}

#[test]
fn delayed_synapses_take_memory_for_those_that_are_there() -> Result<(), Error> {
    // A tenth of the weights is not zero, a thousand delays are.
    let (n, every) = (1000, 10);
    let weight = (0..n * n).map(|k| if k % every == 0 { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
    let delay = (0..n * n).map(|k| if k % every == 0 { (k / every % n) as f32 } else { 0.0 });
    let shaped = |data: Vec<f32>| Tensor::new(vec![n, n], data);
    let mut graph = Graph::new(&[n])?;
    let delay = shaped(delay.collect());
    let weight = shaped(weight).unwrap_or(Tensor::scalar(0.0));
    graph.add("fc", Op::Linear(Linear { weight, bias: None, delay }), &[])?;
    let plan = Plan::new(&graph, Level::Baseline, &Precision::F32)?;
    assert!(plan.to_string().contains("100000 synapses of 1000 delays"), "{plan}");
    // A weight and an output each; and the lists of places, of which each has one synapse.
    assert!(plan.weight_bytes() < 100_000 * 64, "{} bytes", plan.weight_bytes());
    Ok(())
}
