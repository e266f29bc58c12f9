//! Layers whose synapses have delays of their own against the naive oracle, to the bit: sums on
//! lists and on dense values, and what they count.

use spikesim_core::kernels::block::Geometry;
use spikesim_core::kernels::events::Events;
use spikesim_core::kernels::fanout::Cost;
use spikesim_core::kernels::oracle;
use spikesim_core::kernels::scatter::{Synapse, Synapses};
use spikesim_core::kernels::window::Dims;

mod random;

use random::Random;

/// A layer and the past it sees, `past[d]` being `d` steps ago in C order.
struct Case {
    g: Geometry,
    outputs: usize,
    groups: usize,
    weight: Vec<f32>,
    delay: Vec<usize>,
    past: Vec<Vec<f32>>,
}

impl Case {
    fn draw(r: &mut Random) -> Self {
        let groups = 1 + r.below(2);
        let (per_group, outputs) = (1 + r.below(4), groups * (1 + r.below(5)));
        let kernel = [1 + r.below(3), 1 + r.below(3)];
        let (stride, dilation) =
            ([1 + r.below(3), 1 + r.below(2)], [1 + r.below(2), 1 + r.below(3)]);
        let pad = kernel.map(|k| r.below(k));
        let reach = [0, 1].map(|a| (kernel[a] - 1) * dilation[a] + 1);
        let size = [0, 1].map(|a| reach[a] + r.below(4));
        let out = [0, 1].map(|a| (size[a] + 2 * pad[a] - reach[a]) / stride[a] + 1);
        let g = Geometry {
            in_h: size[0],
            in_w: size[1],
            in_c: per_group * groups,
            out_h: out[0],
            out_w: out[1],
            kh: kernel[0],
            kw: kernel[1],
            stride,
            pad,
            dilation,
        };
        let n = outputs * per_group * kernel[0] * kernel[1];
        let longest = r.below(5);
        let elements = g.in_c * g.in_h * g.in_w;
        let mut value = |r: &mut Random| match r.below(4) {
            0 => r.float(),
            1 => 1.0,
            _ => 0.0,
        };
        Self {
            g,
            outputs,
            groups,
            weight: (0..n).map(|_| if r.coin(0.3) { 0.0 } else { r.float() }).collect(),
            delay: (0..n).map(|_| r.below(longest + 1)).collect(),
            past: (0..=longest).map(|_| (0..elements).map(|_| value(r)).collect()).collect(),
        }
    }

    /// Index of a weight.
    fn at(&self, o: usize, c: usize, ky: usize, kx: usize) -> usize {
        let per_group = self.g.in_c / self.groups;
        ((o * per_group + c % per_group) * self.g.kh + ky) * self.g.kw + kx
    }

    fn synapses(&self) -> Synapses {
        let (per_group, out_group) = (self.g.in_c / self.groups, self.outputs / self.groups);
        Synapses::new(self.g, self.outputs, |c, list| {
            // From behind: the order in which they come must not matter.
            for o in (0..self.outputs).rev().filter(|o| o / out_group == c / per_group) {
                for (ky, kx) in (0..self.g.kh).flat_map(|y| (0..self.g.kw).map(move |x| (y, x))) {
                    let at = self.at(o, c, ky, kx);
                    let (delay, weight) = (self.delay[at], self.weight[at]);
                    list.push(Synapse { delay, ky, kx, output: o, weight });
                }
            }
        })
    }

    /// What is counted, weight by weight.
    fn cost(&self) -> Cost {
        let (g, mut cost) = (&self.g, Cost::default());
        let (per_group, out_group) = (g.in_c / self.groups, self.outputs / self.groups);
        for o in 0..self.outputs {
            for c in (0..g.in_c).filter(|c| c / per_group == o / out_group) {
                for (ky, kx) in (0..g.kh).flat_map(|y| (0..g.kw).map(move |x| (y, x))) {
                    for (oy, ox) in (0..g.out_h).flat_map(|y| (0..g.out_w).map(move |x| (y, x))) {
                        let y = (oy * g.stride[0] + ky * g.dilation[0]).wrapping_sub(g.pad[0]);
                        let x = (ox * g.stride[1] + kx * g.dilation[1]).wrapping_sub(g.pad[1]);
                        if y >= g.in_h || x >= g.in_w {
                            continue;
                        }
                        let at = self.at(o, c, ky, kx);
                        let value = self.past[self.delay[at]][(c * g.in_h + y) * g.in_w + x];
                        let met = u64::from(self.weight[at] != 0.0);
                        match value {
                            0.0 => {}
                            1.0 => {
                                cost.synops += met;
                                cost.synops_with_zeros += 1;
                            }
                            _ => cost.macs += met,
                        }
                    }
                }
            }
        }
        cost
    }
}

#[test]
fn sums_and_counts_equal_the_oracle() {
    let mut r = Random(23);
    for _ in 0..300 {
        let case = Case::draw(&mut r);
        let (g, synapses) = (&case.g, case.synapses());
        assert_eq!(synapses.len(), case.weight.iter().filter(|w| **w != 0.0).count());
        let dims = Dims { c: g.in_c, h: g.in_h, w: g.in_w };
        let out_dims = Dims { c: case.outputs, h: g.out_h, w: g.out_w };
        let mut events = Events::new(dims, true);
        case.past.iter().for_each(|values| events.push_c_order(values));
        let mut sums = [vec![0.0; out_dims.len()], vec![0.0; out_dims.len()]];
        let mut costs = [Cost::default(); 2];
        assert!(synapses.delays().windows(2).all(|pair| pair[0] > pair[1]));
        for &delay in synapses.delays() {
            costs[0] += synapses.add(&events, delay, delay, &mut sums[0]);
            let mut row = vec![0.0; dims.len()];
            events.scatter(delay, &mut row);
            costs[1] += synapses.add_dense(&row, delay, &mut sums[1]);
        }
        assert_eq!(costs, [case.cost(); 2]);
        let layer = (case.outputs, case.groups);
        for p in 0..out_dims.pixels() {
            for o in 0..case.outputs {
                let at = (p / g.out_w, p % g.out_w);
                let weights = (&case.weight[..], &case.delay[..]);
                let wanted = oracle::delayed_sum(g, weights, layer, &case.past, o, at);
                for sums in &sums {
                    assert_eq!(sums[p * case.outputs + o].to_bits(), wanted.to_bits(), "{g:?}");
                }
            }
        }
    }
}
