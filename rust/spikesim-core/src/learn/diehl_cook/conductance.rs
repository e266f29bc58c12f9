//! The network of Diehl and Cook (2015) with conductances: excitatory and inhibitory neurons in
//! pairs, every inhibitory one silencing all excitatory ones but its own, and plastic inputs.
//! The rules are S12.c of docs/semantics.md.
//!
//! The work of a step is the excitatory neurons, a row of weights for each input spike, and as
//! many synapses as there were spikes to learn from. Vectors of inhibitory neurons that rest are
//! not touched, which is exact: a step that changes nothing is its own repetition.

use super::conductance_params::{ConductanceParams, Constants};
use super::conductance_plasticity::Plasticity;
use crate::kernels::aligned::Aligned;
use crate::kernels::conductance::{
    ExcitatoryTask, InhibitoryTask, step_excitatory, step_inhibitory,
};
use crate::kernels::level::Level;
use crate::kernels::simd::LANES;
use crate::{Error, Result};

/// Conductances below this become 0 …
const NOTHING: f32 = 1.0 / (1u64 << 20) as f32;
/// … before each step whose number is a multiple of this.
const FLUSH_EVERY: u64 = 16;

/// Input spikes of some steps: those of step `t` are `indices[offsets[t]..offsets[t + 1]]`,
/// ascending.
#[derive(Clone, Copy, Debug)]
pub struct Spikes<'a> {
    offsets: &'a [u32],
    indices: &'a [u32],
}

impl<'a> Spikes<'a> {
    /// Checked once, so that no step has to.
    pub fn new(offsets: &'a [u32], indices: &'a [u32], n_inputs: usize) -> Result<Self> {
        let bad = |problem: String| Err(Error::input("spikes", problem));
        let ends = offsets.first() == Some(&0)
            && offsets.last().is_some_and(|&end| end as usize == indices.len());
        if !ends || offsets.windows(2).any(|w| w[0] > w[1]) {
            return bad("offsets do not rise from 0 to the number of spikes".into());
        }
        for pair in offsets.windows(2) {
            let step = &indices[pair[0] as usize..pair[1] as usize];
            if step.windows(2).any(|w| w[0] >= w[1]) {
                return bad("inputs of one step are not ascending and distinct".into());
            }
            if step.last().is_some_and(|&i| i as usize >= n_inputs) {
                return bad(format!("an input is not below {n_inputs}"));
            }
        }
        Ok(Self { offsets, indices })
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.offsets.len() - 1
    }

    fn at(&self, t: usize) -> &'a [u32] {
        &self.indices[self.offsets[t] as usize..self.offsets[t + 1] as usize]
    }
}

/// What some steps brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    /// Spikes of each excitatory neuron.
    pub counts: Vec<u32>,
    /// (step, neuron) of each of them in order, where asked for.
    pub spikes: Vec<(u32, u32)>,
    /// Input spikes.
    pub inputs: u64,
    /// Spikes of inhibitory neurons.
    pub inhibitory: u64,
    /// Synapses changed by a spike.
    pub updates: u64,
}

/// Both populations' variables, padded to whole vectors.
#[derive(Debug)]
pub struct State {
    v: Aligned,
    g_e: Aligned,
    g_i: Aligned,
    wait: Aligned,
    inh_v: Aligned,
    inh_g_e: Aligned,
    inh_wait: Aligned,
    awake: Vec<bool>,
    waiting: Vec<bool>,
    /// Whether some g_e, some g_i may be other than 0.
    driven: bool,
    inhibited: bool,
    fired: Vec<u16>,
    inh_fired: Vec<u16>,
}

impl State {
    fn new(c: &Constants, lanes: usize) -> Self {
        let rest = |v: f32| {
            let mut a = Aligned::zeros(lanes);
            a.fill(v);
            a
        };
        Self {
            v: rest(c.exc.v_rest),
            g_e: rest(0.0),
            g_i: rest(0.0),
            wait: rest(0.0),
            inh_v: rest(c.inh.v_rest),
            inh_g_e: rest(0.0),
            inh_wait: rest(0.0),
            awake: vec![true; lanes / LANES],
            waiting: vec![true; lanes / LANES],
            driven: true,
            inhibited: true,
            fired: vec![0; lanes / LANES],
            inh_fired: vec![0; lanes / LANES],
        }
    }

    /// The arrays that are the state, in a fixed order, for checkpoints.
    fn arrays(&self) -> [&Aligned; 7] {
        [&self.v, &self.g_e, &self.g_i, &self.wait, &self.inh_v, &self.inh_g_e, &self.inh_wait]
    }

    /// The same, to be written to.
    fn arrays_mut(&mut self) -> [&mut Aligned; 7] {
        let Self { v, g_e, g_i, wait, inh_v, inh_g_e, inh_wait, .. } = self;
        [v, g_e, g_i, wait, inh_v, inh_g_e, inh_wait]
    }

    fn flush(&mut self) {
        self.driven = self.driven && flush(&mut self.g_e);
        self.inhibited = self.inhibited && flush(&mut self.g_i);
        flush(&mut self.inh_g_e);
    }
}

/// Make what is next to nothing 0; whether something is left.
fn flush(g: &mut [f32]) -> bool {
    let mut bits = 0;
    for x in g.iter_mut() {
        let y = if *x < NOTHING { 0.0 } else { *x };
        bits |= y.to_bits();
        *x = y;
    }
    bits != 0
}

/// The neurons whose bits are set in tiles of lanes, ascending.
fn neurons(tiles: &[u16]) -> impl Iterator<Item = usize> + '_ {
    tiles.iter().enumerate().flat_map(|(tile, &bits)| {
        let some = |bits: u16| (bits != 0).then_some(bits);
        std::iter::successors(some(bits), move |bits| some(bits & (bits - 1)))
            .map(move |bits| tile * LANES + bits.trailing_zeros() as usize)
    })
}

/// The network: constants, weights and thresholds, and where it is.
#[derive(Debug)]
pub struct Conductance {
    constants: Constants,
    level: Level,
    n: usize,
    n_inputs: usize,
    weights: Aligned,
    theta: Vec<f32>,
    /// `v_threshold + theta`, infinite in padding.
    threshold: Aligned,
    state: State,
    plasticity: Plasticity,
    step: u64,
}

impl Conductance {
    /// A network at rest. `weights` is `(n_inputs, n)`, `theta` the adaptive part of each
    /// threshold in mV.
    pub fn new(
        params: &ConductanceParams,
        n_inputs: usize,
        weights: &[f32],
        theta: &[f32],
        level: Level,
    ) -> Result<Self> {
        let n = theta.len();
        if n == 0 || n_inputs == 0 || weights.len() != n * n_inputs {
            return Err(Error::input(
                "weights",
                format!("{} values, expected {n_inputs} inputs x {n} neurons", weights.len()),
            ));
        }
        let constants = params.constants(n)?;
        if let Some(w) = weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
            return Err(Error::input("weights", format!("{w} is in it, expected finite, >= 0")));
        }
        if let Some(x) = theta.iter().find(|x| !x.is_finite()) {
            return Err(Error::input("theta", format!("{x} is in it, expected finite values")));
        }
        let lanes = n.next_multiple_of(LANES);
        let mut rows = Aligned::zeros(lanes * n_inputs);
        for (row, from) in rows.chunks_exact_mut(lanes).zip(weights.chunks_exact(n)) {
            row[..n].copy_from_slice(from);
        }
        let mut threshold = Aligned::zeros(lanes);
        threshold.fill(f32::INFINITY);
        for (at, theta) in threshold.iter_mut().zip(theta) {
            *at = constants.exc.v_threshold + theta;
        }
        Ok(Self {
            state: State::new(&constants, lanes),
            plasticity: Plasticity::new(params, n_inputs, n),
            constants,
            level,
            n,
            n_inputs,
            weights: rows,
            theta: theta.to_vec(),
            threshold,
            step: 0,
        })
    }

    /// Excitatory neurons.
    pub fn neurons(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn inputs(&self) -> usize {
        self.n_inputs
    }

    /// `(n_inputs, n)` in C order.
    pub fn weights(&self) -> Vec<f32> {
        let lanes = self.threshold.len();
        self.weights.chunks_exact(lanes).flat_map(|row| row[..self.n].to_vec()).collect()
    }

    /// The adaptive part of each threshold, mV.
    pub fn theta(&self) -> Vec<f32> {
        self.theta.clone()
    }

    /// The steps so far, which is the clock of the traces.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// v, g_e, g_i, refractory steps; v, g_e, refractory steps of the inhibitory ones: `(7, n)`.
    pub fn state(&self) -> Vec<f32> {
        self.state.arrays().iter().flat_map(|a| a[..self.n].to_vec()).collect()
    }

    /// The steps of the last spike of each input and each neuron; −1 where there was none.
    pub fn last_spikes(&self) -> (Vec<i64>, Vec<i64>) {
        self.plasticity.last_spikes()
    }

    /// Go on from where [`Self::state`], [`Self::last_spikes`] and [`Self::step`] were taken.
    pub fn restore(&mut self, state: &[f32], last: (&[i64], &[i64]), step: u64) -> Result<()> {
        if state.len() != 7 * self.n || last.0.len() != self.n_inputs || last.1.len() != self.n {
            return Err(Error::input("state", "it is of a network of another size".to_string()));
        }
        if last.0.iter().chain(last.1).any(|&t| t >= step as i64) {
            return Err(Error::input("state", "a last spike is not before its step".to_string()));
        }
        let mut fresh = State::new(&self.constants, self.threshold.len());
        let n = self.n;
        for (array, values) in fresh.arrays_mut().into_iter().zip(state.chunks_exact(n)) {
            array[..n].copy_from_slice(values);
        }
        self.state = fresh;
        self.step = step;
        self.plasticity.restore(last.0, last.1, step);
        Ok(())
    }

    /// As [`Self::restore`], where every column has its sum.
    pub(super) fn restore_settled(
        &mut self,
        state: &[f32],
        last: (&[i64], &[i64]),
        step: u64,
    ) -> Result<()> {
        self.restore(state, last, step)?;
        self.plasticity.settled();
        Ok(())
    }

    /// Learn at rates scaled by `factor` from here on.
    pub(super) fn scale_rates(&mut self, factor: f32) {
        self.plasticity.scale_rates(factor);
    }

    /// Scale each neuron's weights to their sum (S12.c8). Only columns that changed since the
    /// last call are touched, the others have that sum already; `all` touches every one.
    pub fn normalize(&mut self, all: bool) {
        self.plasticity.normalize(&mut self.weights, self.threshold.len(), all);
    }

    /// Go on for the steps of `spikes`. With `learn`, weights and thresholds change, and theta
    /// decays by the whole duration at its end.
    pub fn run(&mut self, spikes: &Spikes<'_>, learn: bool, record: bool) -> Activity {
        let mut activity = Activity { counts: vec![0; self.n], ..Activity::default() };
        for t in 0..spikes.steps() {
            let inputs = spikes.at(t);
            let (inhibitory, any) = advance(
                &self.constants,
                self.level,
                &self.weights,
                &self.threshold,
                &mut self.state,
                self.step,
                inputs,
            );
            activity.inputs += inputs.len() as u64;
            activity.inhibitory += u64::from(inhibitory);
            if learn {
                let lanes = self.threshold.len();
                let changed = self.plasticity.depress(&mut self.weights, lanes, inputs, self.step);
                activity.updates += changed;
            }
            for j in neurons(if any { &self.state.fired } else { &[] }) {
                activity.counts[j] += 1;
                if record {
                    activity.spikes.push((t as u32, j as u32));
                }
                if learn {
                    self.theta[j] += self.constants.theta_plus;
                    self.threshold[j] = self.constants.exc.v_threshold + self.theta[j];
                    let lanes = self.threshold.len();
                    let (w, step) = (&mut self.weights, self.step);
                    activity.updates += self.plasticity.potentiate(w, lanes, j, step);
                }
            }
            self.step += 1;
        }
        if learn {
            let keep = self.constants.theta_keep(spikes.steps());
            for (theta, threshold) in self.theta.iter_mut().zip(self.threshold.iter_mut()) {
                *theta *= keep;
                *threshold = self.constants.exc.v_threshold + *theta;
            }
        }
        activity
    }

    /// What each neuron answers to one sample from rest, weights and thresholds as they are.
    /// The network itself stays where it is, so samples may be asked in any order and by several
    /// threads.
    pub fn respond(&self, spikes: &Spikes<'_>) -> Activity {
        let mut state = State::new(&self.constants, self.threshold.len());
        let mut activity = Activity { counts: vec![0; self.n], ..Activity::default() };
        for t in 0..spikes.steps() {
            let (c, inputs) = (&self.constants, spikes.at(t));
            let (w, theta, at) = (&self.weights, &self.threshold, t as u64);
            let (inhibitory, any) = advance(c, self.level, w, theta, &mut state, at, inputs);
            activity.inputs += inputs.len() as u64;
            activity.inhibitory += u64::from(inhibitory);
            for j in neurons(if any { &state.fired } else { &[] }) {
                activity.counts[j] += 1;
                activity.spikes.push((t as u32, j as u32));
            }
        }
        activity
    }
}

/// One step of both populations (S12.c3 to S12.c5): the number of inhibitory spikes, and whether
/// there are excitatory ones.
fn advance(
    c: &Constants,
    level: Level,
    weights: &[f32],
    threshold: &[f32],
    state: &mut State,
    step: u64,
    inputs: &[u32],
) -> (u32, bool) {
    if step.is_multiple_of(FLUSH_EVERY) {
        state.flush();
    }
    let inhibitory = step_inhibitory(
        level,
        &mut InhibitoryTask {
            membrane: &c.inh,
            v: &mut state.inh_v,
            g_e: &mut state.inh_g_e,
            wait: &mut state.inh_wait,
            awake: &mut state.awake,
            fired: &mut state.inh_fired,
        },
    );
    let any = step_excitatory(
        level,
        &mut ExcitatoryTask {
            membrane: &c.exc,
            weights,
            inputs,
            inhibitory,
            own: &state.inh_fired,
            w_inh: c.w_inh,
            v: &mut state.v,
            g_e: &mut state.g_e,
            g_i: &mut state.g_i,
            wait: &mut state.wait,
            waiting: &mut state.waiting,
            driven: state.driven,
            inhibited: state.inhibited,
            threshold,
            fired: &mut state.fired,
        },
    );
    state.driven |= !inputs.is_empty();
    state.inhibited |= inhibitory > 0;
    if any == 0 {
        return (inhibitory, false);
    }
    for j in neurons(&state.fired) {
        state.inh_g_e[j] += c.w_exc;
        state.awake[j / LANES] = true;
    }
    (inhibitory, true)
}
