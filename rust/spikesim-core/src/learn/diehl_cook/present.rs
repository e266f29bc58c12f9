//! One presentation of one sample: S12.3 to S12.11.
//!
//! Neurons that fired in this presentation are taken out of the lanes while their weights may
//! change or they are refractory, and go step by step; all others run in chunks of steps until
//! one reaches its threshold ([`membranes`]). What inhibits comes in the first step of a chunk.

use super::config::{Config, Inhibitory, Model};
use super::plastic::{Column, NEVER};
use crate::kernels::aligned::Aligned;
use crate::kernels::level::Level;
use crate::kernels::membranes::{self, Task};
use crate::kernels::poisson::Trains;

/// The weights: to be read, or to be learned with rates scaled by a factor.
pub(super) enum Weights<'a> {
    Frozen(&'a [f32], &'a [f32]),
    Learning { weights: &'a mut [f32], theta: &'a mut [f32], factor: f32 },
}

impl Weights<'_> {
    fn values(&self) -> &[f32] {
        match self {
            Self::Frozen(weights, _) => weights,
            Self::Learning { weights, .. } => weights,
        }
    }

    fn theta(&self) -> &[f32] {
        match self {
            Self::Frozen(_, theta) => theta,
            Self::Learning { theta, .. } => theta,
        }
    }
}

/// A neuron that fired, on its own.
struct Fired {
    neuron: usize,
    v: f32,
    threshold: f32,
    refractory: u32,
    /// Step of its last spike.
    spike: usize,
}

/// An inhibitory neuron that was driven.
struct Driven {
    neuron: usize,
    v: f32,
    refractory: u32,
    /// Step that its membrane is of.
    step: usize,
}

/// What a presentation needs; kept from one to the next.
pub struct Scratch {
    v: Aligned,
    next: Aligned,
    threshold: Aligned,
    push: Aligned,
    ends: Vec<usize>,
    fired: Vec<Fired>,
    driven: Vec<Driven>,
    /// (step, neuron) whose inhibition arrives then.
    due: Vec<(usize, usize)>,
    last: Vec<u32>,
    seen: usize,
    /// The neurons that spiked, in the order of time.
    pub spikes: Vec<u32>,
    /// The neurons that spiked, each once.
    pub touched: Vec<u32>,
    /// Input spikes of this presentation.
    pub trains: Trains,
    /// Weights that were changed.
    pub updates: u64,
    /// Spikes of inhibitory neurons, or of winners that inhibited, that arrived.
    pub inhibitions: u64,
}

impl Scratch {
    /// For networks of `lanes` lanes and `inputs` inputs.
    pub fn new(lanes: usize, inputs: usize) -> Self {
        Self {
            v: Aligned::zeros(lanes),
            next: Aligned::zeros(lanes),
            threshold: Aligned::zeros(lanes),
            push: Aligned::zeros(lanes),
            ends: Vec::new(),
            fired: Vec::new(),
            driven: Vec::new(),
            due: Vec::new(),
            last: vec![NEVER; inputs],
            seen: 0,
            spikes: Vec::new(),
            touched: Vec::new(),
            trains: Trains::default(),
            updates: 0,
            inhibitions: 0,
        }
    }
}

/// Presents `s.trains`; `inputs` are those that can spike, ascending.
pub(super) fn present(
    cfg: &Config,
    level: Level,
    s: &mut Scratch,
    inputs: &[u32],
    net: &mut Weights<'_>,
) {
    let steps = s.trains.steps();
    begin(cfg, s, net.theta());
    let mut step = 0;
    while step < steps {
        return_to_lanes(cfg, s, step, matches!(net, Weights::Learning { .. }));
        let (last, inhibitor) = horizon(s, step, (step + cfg.chunk).min(steps));
        s.inhibitions += u64::from(inhibitor.is_some());
        let (mut reached, mut crossed) =
            lanes(cfg, level, s, net.values(), (step, last), inhibitor);
        let own = alone(cfg, s, net, (step, reached), inhibitor);
        if let Some(at) = own
            && at + 1 < reached
        {
            // One of those on their own was first: the lanes go again, up to it.
            (reached, crossed) = lanes(cfg, level, s, net.values(), (step, at + 1), inhibitor);
        }
        std::mem::swap(&mut s.v, &mut s.next);
        if let Some(winner) = winner(s, crossed, own.is_some()) {
            fire(cfg, s, net, inputs, winner, reached - 1);
        }
        step = reached;
    }
}

fn begin(cfg: &Config, s: &mut Scratch, theta: &[f32]) {
    s.v.fill(0.0);
    s.push.fill(cfg.inhibition);
    s.threshold.fill(f32::INFINITY);
    for (threshold, theta) in s.threshold.iter_mut().zip(theta) {
        *threshold = cfg.threshold + theta;
    }
    s.fired.clear();
    s.driven.clear();
    s.due.clear();
    s.last.fill(NEVER);
    s.seen = 0;
    s.spikes.clear();
    s.touched.clear();
    s.updates = 0;
    s.inhibitions = 0;
}

/// Neurons that need not go on their own any more; before `step`.
fn return_to_lanes(cfg: &Config, s: &mut Scratch, step: usize, learning: bool) {
    let (v, threshold) = (&mut s.v, &mut s.threshold);
    let depressed = learning && cfg.depresses();
    s.fired.retain(|f| {
        let stays = f.refractory > 0 || (depressed && step - f.spike < cfg.trace_post.len());
        if !stays {
            v[f.neuron] = f.v;
            threshold[f.neuron] = f.threshold;
        }
        stays
    });
}

/// Up to where a chunk from `step` may go, and whose inhibition arrives at `step`.
fn horizon(s: &mut Scratch, step: usize, last: usize) -> (usize, Option<usize>) {
    let now = s.due.iter().position(|d| d.0 == step).map(|k| s.due.remove(k).1);
    let next = s.due.iter().map(|d| d.0).min().unwrap_or(last);
    (last.min(next), now)
}

/// Runs the lanes; until which step, and whether one reached its threshold in the last.
fn lanes(
    cfg: &Config,
    level: Level,
    s: &mut Scratch,
    weights: &[f32],
    (first, last): (usize, usize),
    inhibitor: Option<usize>,
) -> (usize, bool) {
    if let Some(j) = inhibitor {
        s.push[j] = 0.0;
    }
    let stride = s.v.len();
    let mut task = Task {
        weights,
        stride,
        trains: &s.trains,
        first,
        last,
        decay: cfg.decay,
        v: &s.v,
        next: &mut s.next,
        threshold: &s.threshold,
        inhibition: inhibitor.map(|_| &s.push[..]),
    };
    let reached = membranes::advance(level, &mut task, &mut s.ends);
    if let Some(j) = inhibitor {
        s.push[j] = cfg.inhibition;
    }
    (reached.step, reached.crossed)
}

/// Neurons on their own go from `first` to `last`, or through the first step in which one of
/// them reaches its threshold: that step.
fn alone(
    cfg: &Config,
    s: &mut Scratch,
    net: &mut Weights<'_>,
    (first, last): (usize, usize),
    inhibitor: Option<usize>,
) -> Option<usize> {
    if s.fired.is_empty() {
        return None;
    }
    let stride = s.v.len();
    let depresses = cfg.depresses();
    for step in first..last {
        let inputs = s.trains.at(step);
        let mut crossed = false;
        for f in &mut s.fired {
            if let Weights::Learning { weights, factor, .. } = net
                && let (true, Some(&x)) = (depresses, cfg.trace_post.get(step - f.spike))
            {
                let mut column = Column { weights, stride, neuron: f.neuron };
                column.depress(cfg, inputs, *factor * cfg.eta_pre, x);
                s.updates += inputs.len() as u64;
            }
            if f.refractory > 0 {
                f.refractory -= 1;
                continue;
            }
            let mut sum = 0.0;
            let weights = net.values();
            for &i in inputs {
                sum += weights[i as usize * stride + f.neuron];
            }
            f.v = f.v * cfg.decay + sum;
            if step == first && inhibitor.is_some_and(|j| j != f.neuron) {
                f.v -= cfg.inhibition;
            }
            crossed |= f.v >= f.threshold;
        }
        if crossed {
            return Some(step);
        }
    }
    None
}

/// The neuron with the largest margin, of equals the lowest; after the membranes' swap.
fn winner(s: &Scratch, lanes: bool, alone: bool) -> Option<usize> {
    let mut best: Option<(f32, usize)> = None;
    let mut offer = |margin: f32, j: usize| {
        let better = |(m, k): (f32, usize)| margin > m || (margin == m && j < k);
        if margin >= 0.0 && best.is_none_or(better) {
            best = Some((margin, j));
        }
    };
    if lanes {
        for (j, (v, threshold)) in s.v.iter().zip(s.threshold.iter()).enumerate() {
            offer(v - threshold, j);
        }
    }
    if alone || lanes {
        for f in s.fired.iter().filter(|f| f.refractory == 0) {
            offer(f.v - f.threshold, f.neuron);
        }
    }
    best.map(|(_, j)| j)
}

/// Neuron `j` spikes at `step`.
fn fire(
    cfg: &Config,
    s: &mut Scratch,
    net: &mut Weights<'_>,
    inputs: &[u32],
    j: usize,
    step: usize,
) {
    s.spikes.push(j as u32);
    if !s.touched.contains(&(j as u32)) {
        s.touched.push(j as u32);
    }
    let found = s.fired.iter().position(|f| f.neuron == j).unwrap_or_else(|| {
        let threshold = s.threshold[j];
        s.fired.push(Fired { neuron: j, v: 0.0, threshold, refractory: 0, spike: 0 });
        s.threshold[j] = f32::INFINITY;
        s.fired.len() - 1
    });
    let stride = s.v.len();
    let f = &mut s.fired[found];
    (f.v, f.refractory, f.spike) = (cfg.reset, cfg.refractory, step);
    if let Weights::Learning { weights, theta, factor } = net {
        theta[j] += cfg.theta_plus;
        f.threshold = cfg.threshold + theta[j];
        for t in s.seen..=step {
            for &i in s.trains.at(t) {
                s.last[i as usize] = t as u32;
            }
        }
        s.seen = step + 1;
        let mut column = Column { weights, stride, neuron: j };
        let eta = *factor * cfg.eta_post;
        let when = (&s.last[..], step as u32);
        s.updates += if cfg.x_tar.is_some() {
            column.potentiate(cfg, 0..cfg.inputs as u32, when, eta)
        } else {
            column.potentiate(cfg, inputs.iter().copied(), when, eta)
        };
    }
    match &cfg.model {
        Model::Wta => s.due.push((step + 1, j)),
        Model::Current(inhibitory) => {
            if drive(inhibitory, s, j, step + 1) {
                s.due.push((step + 2, j));
            }
        }
    }
}

/// Inhibitory neuron `j` gets its excitatory one's spike at `step`; whether it fires then.
fn drive(cfg: &Inhibitory, s: &mut Scratch, j: usize, step: usize) -> bool {
    let found = s.driven.iter().position(|d| d.neuron == j).unwrap_or_else(|| {
        s.driven.push(Driven { neuron: j, v: 0.0, refractory: 0, step });
        s.driven.len() - 1
    });
    let d = &mut s.driven[found];
    // Steps without input since: held while refractory, then decaying, a product a step.
    for _ in d.step + 1..step {
        if d.refractory > 0 {
            d.refractory -= 1;
        } else {
            d.v *= cfg.decay;
        }
    }
    d.step = step;
    if d.refractory > 0 {
        d.refractory -= 1;
        return false;
    }
    d.v = d.v * cfg.decay + cfg.weight;
    let fires = d.v >= cfg.threshold;
    if fires {
        (d.v, d.refractory) = (cfg.reset, cfg.refractory);
    }
    fires
}
