//! Every instruction-set level of this CPU against the naive oracle of precision i8, to the bit.
//! A level that this CPU lacks is reported as skipped.

use spikesim_core::kernels::block::Geometry;
use spikesim_core::kernels::events::{Event, Events};
use spikesim_core::kernels::int::block::{IntParent, IntPost, IntTask};
use spikesim_core::kernels::int::dispatch::run_block;
use spikesim_core::kernels::int::neuron::{IntBlock, IntParams};
use spikesim_core::kernels::int::{ONE, PART, WHOLE, oracle};
use spikesim_core::kernels::level::Level;
use spikesim_core::kernels::neuron::Rules;
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

/// A layer of one block and its input at one step.
struct Case {
    g: Geometry,
    outputs: usize,
    weight: Vec<i8>,
    /// C order.
    input: Vec<f32>,
    graded: bool,
    shift: u32,
}

impl Case {
    fn draw(r: &mut Random, round: usize) -> Self {
        let long = round.is_multiple_of(8);
        let (kh, kw) = (1 + r.below(3), 1 + r.below(3));
        let (in_h, in_w) = (kh + r.below(4), kw + r.below(4));
        // Long lists of equal signs are what i16 sums would overflow on.
        let in_c = if long { 300 + r.below(500) } else { 1 + r.below(20) };
        let pad = [r.below(kh), r.below(kw)];
        let (out_h, out_w) = (in_h + 2 * pad[0] - kh + 1, in_w + 2 * pad[1] - kw + 1);
        let (stride, dilation) = ([1, 1], [1, 1]);
        let g = Geometry { in_h, in_w, in_c, out_h, out_w, kh, kw, stride, pad, dilation };
        let outputs = 1 + r.below(64);
        let sign = if r.coin(0.5) { 127.0 } else { -127.0 };
        let mut weight = |_| if long { sign } else { (r.float() * 127.0).round() };
        let weight = (0..outputs * in_c * kh * kw).map(|k| weight(k) as i8).collect();
        let graded = r.coin(0.4);
        let shift = if graded || r.coin(0.5) { 0 } else { 2 };
        let rate = if long { 0.95 } else { 0.4 };
        let value = |r: &mut Random| match (graded, shift) {
            (true, _) => r.float() * 3.0,
            (_, 0) => 1.0,
            _ => (1 + r.below(3)) as f32 / 4.0,
        };
        let len = in_c * in_h * in_w;
        let input = (0..len).map(|_| if r.coin(rate) { value(r) } else { 0.0 }).collect();
        Self { g, outputs, weight, input, graded, shift }
    }

    fn events(&self) -> Events {
        let dims = Dims { c: self.g.in_c, h: self.g.in_h, w: self.g.in_w };
        let mut events = Events::new(dims, self.graded);
        events.set_shift(self.shift);
        for p in 0..dims.pixels() {
            for c in 0..dims.c {
                let value = self.input[c * dims.pixels() + p];
                let times = match self.graded {
                    true => usize::from(value != 0.0),
                    false => (value * (1 << self.shift) as f32) as usize,
                };
                for _ in 0..times {
                    events.push(p % dims.w, Event { c, value, mult: [1, 0] });
                }
            }
            events.end_pixel();
        }
        events
    }

    /// The block's rows `[ky][kx][c][lane]`.
    fn rows(&self, width: usize) -> Vec<i8> {
        let (g, taps) = (&self.g, self.g.kh * self.g.kw);
        let mut rows = vec![0; taps * g.in_c * width];
        for o in 0..self.outputs {
            for c in 0..g.in_c {
                for tap in 0..taps {
                    rows[(tap * g.in_c + c) * width + o] =
                        self.weight[(o * g.in_c + c) * taps + tap];
                }
            }
        }
        rows
    }
}

#[test]
fn sums_equal_the_oracle_at_every_level() {
    let mut r = Random(23);
    let levels = levels();
    for round in 0..150 {
        let case = Case::draw(&mut r, round);
        let g = &case.g;
        let width = case.outputs.div_ceil(32) * 32;
        let (events, rows) = (case.events(), case.rows(width));
        let views = [events.view(0), events.view(0)];
        let (pixels, fraction) = (g.out_h * g.out_w, 2 + r.below(3) as u32);
        let scale: Vec<f32> = (0..width).map(|_| r.float()).collect();
        let bias: Vec<f32> = (0..width).map(|_| r.float()).collect();
        for &level in &levels {
            let parents = [IntParent::Lists {
                geometry: g,
                weights: &rows,
                lo: 0,
                n: g.in_c as u32,
                views: &views,
                edges: 2,
            }];
            let (mut units, mut currents) = (vec![0; pixels * width], vec![0.0; pixels * width]);
            let run = |post: IntPost<'_>| {
                let (out_h, out_w, parents) = (g.out_h, g.out_w, &parents[..]);
                let mut task =
                    IntTask { steps: 1, out_h, out_w, block: 0, fraction, parents, post };
                run_block(level, width, &mut task);
            };
            run(IntPost::Units(&mut units));
            run(IntPost::Currents { out: &mut currents, scale: &scale, bias: &bias });
            for p in 0..pixels {
                for o in 0..case.outputs {
                    let (layer, at) = ((case.outputs, 1), (p / g.out_w, p % g.out_w));
                    let input = &case.input;
                    let one = oracle::conv_units(g, &case.weight, layer, input, (o, fraction), at);
                    let found = i64::from(units[p * width + o]);
                    let wanted = oracle::add_within(one, one);
                    assert_eq!(found, wanted, "{level:?} {g:?} pixel {p} output {o}");
                    let floats: Vec<f32> = case.weight.iter().map(|&w| f32::from(w)).collect();
                    let sum =
                        spikesim_core::kernels::oracle::conv_sum(g, &floats, layer, input, o, at);
                    let wanted = (sum + sum) * scale[o] + bias[o];
                    assert_eq!(currents[p * width + o].to_bits(), wanted.to_bits(), "{level:?}");
                }
            }
        }
    }
}

fn draw_params(r: &mut Random, channels: usize, pixels: usize, width: usize) -> IntParams {
    let mut param = |low: i32, high: i32| {
        let per_neuron = r.coin(0.3);
        let span = f64::from(high - low);
        let values: Vec<i32> = (0..channels * pixels)
            .map(|_| low + (span * f64::from(r.float() * 0.5 + 0.5)) as i32)
            .collect();
        Param::pack((channels, pixels, width), per_neuron, 0, |c, p| {
            values[if per_neuron { c * pixels + p } else { c }]
        })
    };
    // Some of everything up to the bounds, where i32 would wrap if anything were added twice.
    let high = [1 << 12, PART][param(0, 2).at(0, 0, 0) as usize % 2];
    let levels = [param(1, high), param(-high, 0), param(-high, high), param(-high, -1)];
    let [v_threshold, v_reset, v_leak, low] = levels;
    let (alpha, bias, v_min) = (param(0, ONE), param(-high, high), param(-high, 0));
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
        4 => rules.signed = true,
        _ => {}
    }
    let unit = |value: f32| Param::pack((channels, 1, width), false, 0.0, |c, _| value * c as f32);
    IntParams {
        rules,
        bias: r.coin(0.5).then_some(bias),
        v_threshold,
        v_reset,
        v_leak,
        alpha_mem: r.coin(0.5).then_some(alpha),
        v_threshold_neg: rules.signed.then_some(low),
        v_min: r.coin(0.3).then_some(v_min),
        v_unit: unit(0.1),
        x_unit: unit(0.3),
    }
}

#[test]
fn neurons_equal_the_oracle_at_every_level() {
    let mut r = Random(29);
    let levels = levels();
    for _ in 0..300 {
        let channels = 1 + r.below(64);
        let width = channels.div_ceil(32) * 32;
        let (h, w, steps) = (1 + r.below(2), 1 + r.below(3), 12);
        let pixels = h * w;
        let params = draw_params(&mut r, channels, pixels, width);
        let rules = params.rules;
        let most = [1 << 12, WHOLE][r.below(2)] as f32;
        let data: Vec<i32> =
            (0..steps * pixels * width).map(|_| (r.float() * most) as i32).collect();
        let v0: Vec<i32> = (0..pixels * width).map(|_| (r.float() * most) as i32).collect();
        for &level in &levels {
            let parents =
                [IntParent::Units { data: &data, t_stride: pixels * width, p_stride: width }];
            let mut v = v0.clone();
            let mut masks = vec![0u64; steps * pixels];
            let mut z = vec![0.0; if rules.signed { data.len() } else { 0 }];
            let (mut v_out, mut x_out) = (vec![0.0; data.len()], vec![0.0; data.len()]);
            let lanes = if channels == 64 { u64::MAX } else { (1 << channels) - 1 };
            let mut task = IntTask {
                steps,
                out_h: h,
                out_w: w,
                block: 0,
                fraction: 8,
                parents: &parents,
                post: IntPost::Neuron(IntBlock {
                    params: &params,
                    lanes,
                    v: &mut v,
                    masks: &mut masks,
                    z: &mut z,
                    v_out: &mut v_out,
                    x_out: &mut x_out,
                }),
            };
            run_block(level, width, &mut task);
            for p in 0..pixels {
                for lane in 0..channels {
                    let mut own = i64::from(v0[p * width + lane]);
                    for t in 0..steps {
                        let at = (t * pixels + p) * width + lane;
                        let x = i64::from(data[at]);
                        let wanted = oracle::neuron_step(&params, (0, p, lane), &mut own, x);
                        let fired = masks[t * pixels + p] >> lane & 1 == 1;
                        let found = match (z.is_empty(), fired) {
                            (_, false) => 0,
                            (true, true) => 1,
                            (false, true) => z[at] as i64,
                        };
                        assert_eq!(found, wanted, "{level:?} {rules:?} step {t} lane {lane}");
                        let shown = own as i32 as f32 * params.v_unit.at(0, p, lane);
                        assert_eq!(v_out[at].to_bits(), shown.to_bits(), "{level:?} {rules:?}");
                        let x = params.bias.as_ref().map_or(x, |bias| {
                            oracle::add_within(x, i64::from(bias.at(0, p, lane)))
                        });
                        let shown = x as i32 as f32 * params.x_unit.at(0, p, lane);
                        assert_eq!(x_out[at].to_bits(), shown.to_bits(), "{level:?} {rules:?}");
                    }
                    assert_eq!(i64::from(v[p * width + lane]), own, "{level:?} {rules:?}");
                }
            }
        }
    }
}
