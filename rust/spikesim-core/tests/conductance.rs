//! The conductance kernels: every level against the naive oracle, to the bit, and vectors at
//! rest that are left alone.

#![allow(clippy::unwrap_used)]

use spikesim_core::kernels::conductance::{
    ExcitatoryTask, InhibitoryTask, Membrane, step_excitatory, step_inhibitory,
};
use spikesim_core::kernels::level::Level;
use spikesim_core::kernels::oracle_conductance::{State, phi, step};
use spikesim_core::kernels::simd::LANES;
use spikesim_core::learn::diehl_cook::conductance::{Conductance, Spikes};
use spikesim_core::learn::diehl_cook::conductance_params::ConductanceParams;

mod random;

use random::Random;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

struct Network {
    n: usize,
    exc: Membrane,
    inh: Membrane,
    weights: Vec<f32>,
    theta: Vec<f32>,
    inputs: Vec<Vec<u32>>,
}

impl Network {
    fn draw(r: &mut Random) -> Self {
        let n = LANES * (1 + r.below(4));
        let n_inputs = 1 + r.below(30);
        let c = ConductanceParams::default().constants(n).unwrap();
        let inputs = (0..300)
            .map(|t| (0..n_inputs as u32).filter(|_| t % 150 < 100 && r.coin(0.2)).collect())
            .collect();
        Self {
            n,
            exc: c.exc,
            inh: c.inh,
            weights: (0..n * n_inputs).map(|_| r.float().abs() * 4.0).collect(),
            theta: (0..n).map(|_| 20.0 + r.float()).collect(),
            inputs,
        }
    }

    /// Spikes of both populations and the last potentials, one neuron at a time.
    fn naive(&self) -> (Vec<(usize, usize)>, usize, Vec<f32>) {
        let state = |m: &Membrane| State { v: m.v_rest, g_e: 0.0, g_i: 0.0, wait: 0.0 };
        let mut exc = vec![state(&self.exc); self.n];
        let mut inh = vec![state(&self.inh); self.n];
        let (mut spikes, mut inhibitory) = (Vec::new(), 0);
        for (t, inputs) in self.inputs.iter().enumerate() {
            let fired: Vec<bool> =
                inh.iter_mut().map(|s| step(&self.inh, 0.0, (0.0, 0.0), s)).collect();
            let count = fired.iter().filter(|&&f| f).count();
            inhibitory += count;
            for j in 0..self.n {
                let mut sum = 0.0;
                for &i in inputs {
                    sum += self.weights[i as usize * self.n + j];
                }
                let others = 17.0 * (count - usize::from(fired[j])) as f32;
                if step(&self.exc, self.theta[j], (sum, others), &mut exc[j]) {
                    spikes.push((t, j));
                    inh[j].g_e += 10.4;
                }
            }
        }
        (spikes, inhibitory, exc.iter().chain(&inh).map(|s| s.v).collect())
    }

    fn at_level(&self, level: Level) -> (Vec<(usize, usize)>, usize, Vec<f32>) {
        let (n, tiles) = (self.n, self.n / LANES);
        let (mut v, mut inh_v) = (vec![self.exc.v_rest; n], vec![self.inh.v_rest; n]);
        let (mut g_e, mut g_i, mut wait) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let (mut waiting, mut driven, mut inhibited) = (vec![true; tiles], false, false);
        let threshold: Vec<f32> = self.theta.iter().map(|x| self.exc.v_threshold + x).collect();
        let (mut inh_g_e, mut inh_wait) = (vec![0.0; n], vec![0.0; n]);
        let (mut awake, mut own, mut fired) = (vec![true; tiles], vec![0; tiles], vec![0; tiles]);
        let (mut spikes, mut inhibitory) = (Vec::new(), 0);
        for (t, inputs) in self.inputs.iter().enumerate() {
            let count = step_inhibitory(
                level,
                &mut InhibitoryTask {
                    membrane: &self.inh,
                    v: &mut inh_v,
                    g_e: &mut inh_g_e,
                    wait: &mut inh_wait,
                    awake: &mut awake,
                    fired: &mut own,
                },
            );
            inhibitory += count as usize;
            step_excitatory(
                level,
                &mut ExcitatoryTask {
                    membrane: &self.exc,
                    weights: &self.weights,
                    inputs,
                    inhibitory: count,
                    own: &own,
                    w_inh: 17.0,
                    v: &mut v,
                    g_e: &mut g_e,
                    g_i: &mut g_i,
                    wait: &mut wait,
                    waiting: &mut waiting,
                    driven,
                    inhibited,
                    threshold: &threshold,
                    fired: &mut fired,
                },
            );
            driven |= !inputs.is_empty();
            inhibited |= count > 0;
            for j in (0..n).filter(|j| fired[j / LANES] >> (j % LANES) & 1 == 1) {
                spikes.push((t, j));
                inh_g_e[j] += 10.4;
                awake[j / LANES] = true;
            }
        }
        v.extend(inh_v);
        (spikes, inhibitory, v)
    }
}

#[test]
fn every_level_is_the_oracle_to_the_bit() {
    let mut r = Random(5);
    let mut total = 0;
    for _ in 0..20 {
        let net = Network::draw(&mut r);
        let (spikes, inhibitory, v) = net.naive();
        total += spikes.len();
        for level in Level::available() {
            let (s, i, w) = net.at_level(level);
            assert_eq!((s, i), (spikes.clone(), inhibitory), "level {}", level.name());
            assert_eq!(bits(&w), bits(&v), "level {}", level.name());
        }
    }
    assert!(total > 1000, "only {total} spikes: the cases test nothing");
}

#[test]
fn large_arguments_of_phi_take_the_doublings_in_every_lane() {
    // One step from rest with a conductance in each lane: v moves by h · phi(h · g) · drive.
    let m = ConductanceParams::default().constants(LANES).unwrap().inh;
    let g: Vec<f32> = (0..LANES).map(|k| 1.7f32.powi(k as i32 * 2)).collect();
    for level in Level::available() {
        let (mut v, mut g_e) = (vec![-60.0; LANES], g.clone());
        let (mut wait, mut awake, mut fired) = (vec![3.0; LANES], [true], [0]);
        wait[1] = 0.0;
        wait[0] = 0.0;
        wait[2] = 1.0;
        let mut task = InhibitoryTask {
            membrane: &m,
            v: &mut v,
            g_e: &mut g_e,
            wait: &mut wait,
            awake: &mut awake,
            fired: &mut fired,
        };
        step_inhibitory(level, &mut task);
        for k in 0..LANES {
            let moved = -60.0 + (m.h * phi(m.h * (1.0 + g[k]))) * (-60.0 - (1.0 + g[k]) * -60.0);
            let expected = match k {
                0..=2 if moved > m.v_threshold => m.v_reset,
                0..=2 => moved,
                _ => -60.0,
            };
            assert_eq!(v[k].to_bits(), expected.to_bits(), "lane {k} at {}", level.name());
        }
    }
}

/// Spikes of `steps` steps as offsets and indices.
fn poisson(r: &mut Random, n_inputs: u32, steps: usize, p: f32) -> (Vec<u32>, Vec<u32>) {
    let (mut offsets, mut indices) = (vec![0], Vec::new());
    for _ in 0..steps {
        indices.extend((0..n_inputs).filter(|_| r.coin(p)));
        offsets.push(indices.len() as u32);
    }
    (offsets, indices)
}

fn trained(level: Level, pieces: usize, tau_theta: f64) -> (Vec<u32>, Vec<u32>, u64) {
    let mut r = Random(11);
    let (n_inputs, n) = (60, 37);
    let weights: Vec<f32> = (0..n_inputs * n).map(|_| r.float().abs() * 0.3).collect();
    let params = ConductanceParams { norm: 24.0, tau_theta, ..ConductanceParams::default() };
    let mut net = Conductance::new(&params, n_inputs, &weights, &vec![20.0; n], level).unwrap();
    let mut spikes = 0;
    for _ in 0..8 {
        net.normalize(false);
        let (offsets, indices) = poisson(&mut r, n_inputs as u32, 400, 0.06);
        let per = 400 / pieces;
        for k in 0..pieces {
            let (from, to) = (offsets[k * per], offsets[(k + 1) * per]);
            let part: Vec<u32> =
                offsets[k * per..=(k + 1) * per].iter().map(|o| o - from).collect();
            let indices = &indices[from as usize..to as usize];
            let part = Spikes::new(&part, indices, n_inputs).unwrap();
            let learn = net.run(&part, true, false);
            spikes += learn.counts.iter().map(|&c| u64::from(c)).sum::<u64>();
        }
    }
    (bits(&net.weights()), bits(&net.theta()), spikes)
}

#[test]
fn learning_is_the_same_to_the_bit_at_every_level() {
    let expected = trained(Level::Baseline, 1, 1e7);
    assert!(expected.2 > 50, "only {} spikes", expected.2);
    for level in Level::available() {
        assert!(trained(level, 1, 1e7) == expected, "level {}", level.name());
    }
}

#[test]
fn learning_in_pieces_is_the_same_to_the_bit() {
    // Theta decays once a run, so its decay is left out here.
    let (whole, pieces) = (trained(Level::best(), 1, 1e30), trained(Level::best(), 4, 1e30));
    assert!(whole == pieces);
}

#[test]
fn a_restored_network_goes_on_to_the_bit() {
    let mut r = Random(3);
    let (n_inputs, n) = (40, 20);
    let weights: Vec<f32> = (0..n_inputs * n).map(|_| r.float().abs() * 0.6).collect();
    let params = ConductanceParams::default();
    let level = Level::best();
    let mut net = Conductance::new(&params, n_inputs, &weights, &vec![20.0; n], level).unwrap();
    let mut again: Option<Conductance> = None;
    for round in 0..6 {
        let (offsets, indices) = poisson(&mut r, n_inputs as u32, 301, 0.08);
        let spikes = Spikes::new(&offsets, &indices, n_inputs).unwrap();
        let a = net.run(&spikes, true, true);
        if let Some(other) = &mut again {
            assert_eq!(other.run(&spikes, true, true), a);
            assert_eq!(bits(&other.weights()), bits(&net.weights()));
        }
        if round == 2 {
            let mut other =
                Conductance::new(&params, n_inputs, &net.weights(), &net.theta(), level).unwrap();
            let (inputs, neurons) = net.last_spikes();
            other.restore(&net.state(), (&inputs, &neurons), net.step()).unwrap();
            again = Some(other);
        }
    }
}

#[test]
fn what_is_no_spike_list_is_refused() {
    for (offsets, indices) in [
        (vec![0, 2], vec![1, 1]),
        (vec![0, 2], vec![2, 1]),
        (vec![0, 1], vec![3]),
        (vec![0, 2, 1], vec![0]),
        (vec![1, 1], vec![0]),
        (vec![0, 1], vec![0, 1]),
    ] {
        assert!(Spikes::new(&offsets, &indices, 3).is_err(), "{offsets:?} {indices:?}");
    }
    assert!(Spikes::new(&[0, 2, 2], &[0, 2], 3).is_ok());
}
