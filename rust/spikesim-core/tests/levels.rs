//! Every instruction-set level of this CPU against the naive oracle, to the bit, on free floats.
//! A level that this CPU lacks is reported as skipped.

use spikesim_core::kernels::block::{BlockTask, Geometry, Parent, Post};
use spikesim_core::kernels::dispatch::run_block;
use spikesim_core::kernels::events::Events;
use spikesim_core::kernels::level::Level;
use spikesim_core::kernels::neuron::{NeuronBlock, NeuronParams, Rules};
use spikesim_core::kernels::oracle;
use spikesim_core::kernels::param::Param;
use spikesim_core::kernels::window::Dims;

mod random;

use random::Random;

fn levels() -> Vec<Level> {
    for level in Level::ALL.into_iter().filter(|l| !l.is_available()) {
        eprintln!("skipped: level {} is not on this CPU", level.name());
    }
    Level::available()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// A layer, its input at some steps, and one block of its outputs.
struct Case {
    g: Geometry,
    outputs: usize,
    groups: usize,
    weight: Vec<f32>,
    /// `[step]`, C order.
    inputs: Vec<Vec<f32>>,
    graded: bool,
}

impl Case {
    fn draw(r: &mut Random) -> Self {
        let groups = [1, 1, 1, 2][r.below(4)];
        let (per_group, out_group) = (1 + r.below(5), 1 + r.below(40));
        let (kh, kw) = (1 + r.below(4), 1 + r.below(4));
        let stride = [1 + r.below(3), 1 + r.below(3)];
        let dilation = [1 + r.below(2), 1 + r.below(2)];
        let pad = [r.below(kh), r.below(kw)];
        let size = |k: usize, d: usize, p: usize, r: &mut Random| {
            ((k - 1) * d + 1).saturating_sub(2 * p).max(1) + r.below(6)
        };
        let (in_h, in_w) = (size(kh, dilation[0], pad[0], r), size(kw, dilation[1], pad[1], r));
        let out = |n: usize, k: usize, s: usize, p: usize, d: usize| {
            (n + 2 * p - (k - 1) * d - 1) / s + 1
        };
        let g = Geometry {
            in_h,
            in_w,
            in_c: per_group * groups,
            out_h: out(in_h, kh, stride[0], pad[0], dilation[0]),
            out_w: out(in_w, kw, stride[1], pad[1], dilation[1]),
            kh,
            kw,
            stride,
            pad,
            dilation,
        };
        let outputs = (out_group * groups).min(64);
        let groups = if outputs % groups == 0 { groups } else { 1 };
        let g = Geometry { in_c: per_group * groups, ..g };
        let weight = (0..outputs * per_group * kh * kw).map(|_| r.float()).collect();
        let graded = r.coin(0.5);
        let steps = 1 + r.below(3);
        let inputs = (0..steps)
            .map(|_| {
                let len = g.in_c * in_h * in_w;
                let one = |r: &mut Random| if graded { r.float() } else { 1.0 };
                (0..len).map(|_| if r.coin(0.4) { one(r) } else { 0.0 }).collect()
            })
            .collect();
        Self { g, outputs, groups, weight, inputs, graded }
    }

    fn events(&self) -> Events {
        let dims = Dims { c: self.g.in_c, h: self.g.in_h, w: self.g.in_w };
        let mut events = Events::new(dims, self.graded);
        for input in &self.inputs {
            for p in 0..dims.pixels() {
                for c in 0..dims.c {
                    let value = input[c * dims.pixels() + p];
                    if value != 0.0 {
                        let event =
                            spikesim_core::kernels::events::Event { c, value, mult: [1, 0] };
                        events.push(p % dims.w, event);
                    }
                }
                events.end_pixel();
            }
        }
        events
    }

    fn width(&self) -> usize {
        self.outputs.div_ceil(16) * 16
    }

    /// The block's rows `[ky][kx][c][lane]`; the block sees every channel.
    fn rows(&self) -> Vec<f32> {
        let (width, g) = (self.width(), &self.g);
        let per_group = g.in_c / self.groups;
        let mut rows = vec![0.0; g.kh * g.kw * g.in_c * width];
        for o in 0..self.outputs {
            let first = o / (self.outputs / self.groups) * per_group;
            for c in 0..per_group {
                for tap in 0..g.kh * g.kw {
                    rows[(tap * g.in_c + first + c) * width + o] =
                        self.weight[(o * per_group + c) * g.kh * g.kw + tap];
                }
            }
        }
        rows
    }

    fn expected(&self, t: usize, o: usize, at: (usize, usize)) -> f32 {
        let layer = (self.outputs, self.groups);
        oracle::conv_sum(&self.g, &self.weight, layer, &self.inputs[t], o, at)
    }
}

#[test]
fn sums_equal_the_oracle_at_every_level() {
    let mut r = Random(7);
    let levels = levels();
    for _ in 0..200 {
        let case = Case::draw(&mut r);
        let (events, rows, width, g) = (case.events(), case.rows(), case.width(), &case.g);
        let steps = case.inputs.len();
        let views: Vec<_> = (0..steps).map(|t| events.view(t)).collect();
        let bias: Vec<f32> = (0..width).map(|_| r.float()).collect();
        for &level in &levels {
            let parents = [Parent::Lists {
                geometry: g,
                weights: &rows,
                bias: &bias,
                lo: 0,
                n: g.in_c as u32,
                views: &views,
                edges: 1,
                constant: false,
            }];
            let pixels = g.out_h * g.out_w;
            let mut out = vec![0.0; steps * pixels * width];
            let mut task = BlockTask {
                steps,
                out_h: g.out_h,
                out_w: g.out_w,
                block: 0,
                parents: &parents,
                post: Post::Store(&mut out),
            };
            run_block(level, width, &mut task);
            for t in 0..steps {
                for p in 0..pixels {
                    for (o, b) in bias.iter().enumerate().take(case.outputs) {
                        let found = out[(t * pixels + p) * width + o];
                        let wanted = case.expected(t, o, (p / g.out_w, p % g.out_w)) + b;
                        assert_eq!(
                            found.to_bits(),
                            wanted.to_bits(),
                            "{level:?} {g:?} step {t} pixel {p} output {o}: {found} {wanted}"
                        );
                    }
                }
            }
        }
    }
}

fn draw_params(r: &mut Random, channels: usize, pixels: usize, width: usize) -> NeuronParams {
    let mut param = |low: f32, high: f32, filler: f32| {
        let per_neuron = r.coin(0.3);
        let values: Vec<f32> =
            (0..channels * pixels).map(|_| low + (high - low) * (r.float() * 0.5 + 0.5)).collect();
        Param::pack((channels, pixels, width), per_neuron, filler, |c, p| {
            values[if per_neuron { c * pixels + p } else { c }]
        })
    };
    let five = [
        param(0.3, 1.0, f32::INFINITY),
        param(-0.2, 0.2, 0.0),
        param(-0.1, 0.1, 0.0),
        param(0.0, 1.0, 0.0),
        param(0.5, 1.5, 0.0),
    ];
    let optional: Vec<Param> =
        [(0.0, 1.0), (0.5, 1.5), (-1.0, -0.3), (-0.5, -0.1), (0.0, 0.5), (0.5, 1.0), (0.0, 1.0)]
            .into_iter()
            .map(|(low, high)| param(low, high, if low == -1.0 { f32::NEG_INFINITY } else { 0.0 }))
            .collect();
    let mut rules = Rules { fires: r.coin(0.9), strict: r.coin(0.5), ..Rules::default() };
    match r.below(3) {
        0 => rules.subtract = true,
        1 => rules.to_value = true,
        _ => {}
    }
    match if rules.fires { r.below(8) } else { 7 } {
        0 => rules.reset_before = true,
        1 => rules.reset_after = true,
        2 => rules.guarded = rules.subtract,
        3 => rules.order_b = true,
        4 => {
            rules.multi = true;
            rules.strict = false;
        }
        5 => rules.signed = true,
        _ => {}
    }
    let plain = !(rules.reset_before || rules.reset_after || rules.guarded || rules.order_b);
    rules.refractory = plain && rules.fires && r.coin(0.3);
    rules.adaptive = plain && rules.fires && r.coin(0.3);
    rules.clamp = r.coin(0.3);
    match r.below(4) {
        0 => rules.decay_first = true,
        1 => rules.decay_after = true,
        2 => rules.alpha = true,
        _ => {}
    }
    let mut params = NeuronParams::new(rules, five);
    let take = |on: bool, k: usize| on.then(|| optional[k].clone());
    let synapse = rules.decay_first || rules.decay_after || rules.alpha;
    params.alpha_syn = take(synapse, 0);
    params.w_in = take(synapse, 1);
    params.alpha_inh = take(rules.alpha, 6);
    params.v_threshold_neg = take(rules.signed, 2);
    params.v_min = take(rules.clamp, 3);
    params.theta_plus = take(rules.adaptive, 4);
    params.alpha_theta = take(rules.adaptive, 5);
    params.max_spikes = [f32::INFINITY, 2.0][r.below(2)];
    params.refractory = if rules.refractory { 1.0 + r.below(3) as f32 } else { 0.0 };
    params
}

#[test]
fn neurons_equal_the_oracle_at_every_level() {
    let mut r = Random(11);
    let levels = levels();
    for round in 0..300 {
        let channels = 1 + r.below(64);
        let width = channels.div_ceil(16) * 16;
        let (h, w, steps) = (1 + r.below(3), 1 + r.below(3), 12);
        let pixels = h * w;
        let params = draw_params(&mut r, channels, pixels, width);
        let rules = params.rules;
        let mut data: Vec<f32> = (0..steps * pixels * width).map(|_| r.float() * 1.5).collect();
        if round % 10 == 0 {
            // Denormal territory: state below 1e-30 is flushed.
            data.iter_mut().for_each(|x| *x *= 1e-29);
        }
        let v0: Vec<f32> = (0..pixels * width).map(|_| r.float()).collect();
        for &level in &levels {
            let parents =
                [Parent::Dense { data: &data, t_stride: pixels * width, p_stride: width }];
            let state = |on: bool| vec![0.0f32; if on { pixels * width } else { 0 }];
            let (mut v, mut i) = (v0.clone(), state(params.alpha_syn.is_some()));
            let mut inhibition = state(rules.alpha);
            let (mut a, mut theta) = (state(rules.refractory), state(rules.adaptive));
            let mut masks = vec![0u64; steps * pixels];
            let mut z = vec![0.0; if rules.multi || rules.signed { data.len() } else { 0 }];
            let (mut v_out, mut x_out) = (vec![0.0; data.len()], vec![0.0; data.len()]);
            let lanes = if channels == 64 { u64::MAX } else { (1 << channels) - 1 };
            let mut task = BlockTask {
                steps,
                out_h: h,
                out_w: w,
                block: 0,
                parents: &parents,
                post: Post::Neuron(NeuronBlock {
                    params: &params,
                    lanes,
                    v: &mut v,
                    i: &mut i,
                    n: &mut inhibition,
                    a: &mut theta,
                    r: &mut a,
                    masks: &mut masks,
                    z: &mut z,
                    v_out: &mut v_out,
                    x_out: &mut x_out,
                }),
            };
            run_block(level, width, &mut task);
            assert_eq!(bits(&x_out), bits(&data), "the recorded input is the input");
            for p in 0..pixels {
                for lane in 0..channels {
                    let mut s = oracle::State { v: v0[p * width + lane], ..Default::default() };
                    for t in 0..steps {
                        let at = (t * pixels + p) * width + lane;
                        let wanted = oracle::neuron_step(&params, (0, p, lane), &mut s, data[at]);
                        let fired = masks[t * pixels + p] >> lane & 1 == 1;
                        let found = match (z.is_empty(), fired) {
                            (_, false) => 0.0,
                            (true, true) => 1.0,
                            (false, true) => z[at],
                        };
                        let wanted = if rules.fires { wanted } else { 0.0 };
                        assert_eq!(found, wanted, "{level:?} {rules:?} step {t} lane {lane}");
                        assert_eq!(
                            v_out[at].to_bits(),
                            s.v.to_bits(),
                            "{level:?} {rules:?} step {t} lane {lane}: {} {}",
                            v_out[at],
                            s.v
                        );
                    }
                }
            }
        }
    }
}
