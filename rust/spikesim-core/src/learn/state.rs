//! The state of learning as named arrays, the same for every instruction set: what a checkpoint
//! holds.

use std::collections::VecDeque;

use super::layer::Layer;
use super::network::{Learner, Live};
use super::plastic::{Eligibility, Plasticity};
use super::rule::Change;
use super::trace::Trace;
use crate::step::{StateArray, StateData, state};
use crate::{Error, Result};

/// Numbers of a saved array.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Numbers {
    Floats(Vec<f32>),
    Counts(Vec<u32>),
}

/// A named array of a saved state.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Saved {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Numbers,
}

const PLACE: &str = "state_dict";

/// Arrays while they are gathered, or looked for.
struct Arrays(Vec<Saved>);

impl Arrays {
    fn floats(&mut self, name: String, shape: &[usize], data: Vec<f32>) {
        self.0.push(Saved { name, shape: shape.to_vec(), data: Numbers::Floats(data) });
    }

    fn counts(&mut self, name: String, shape: &[usize], data: Vec<u32>) {
        self.0.push(Saved { name, shape: shape.to_vec(), data: Numbers::Counts(data) });
    }

    fn take_floats(&self, name: &str) -> Result<&[f32]> {
        match self.0.iter().find(|a| a.name == name).map(|a| &a.data) {
            Some(Numbers::Floats(data)) => Ok(data),
            Some(Numbers::Counts(_)) => {
                Err(Error::input(PLACE, format!("{name:?} holds integers, expected floats")))
            }
            None => Err(missing(name)),
        }
    }

    fn take_counts(&self, name: &str) -> Result<&[u32]> {
        match self.0.iter().find(|a| a.name == name).map(|a| &a.data) {
            Some(Numbers::Counts(data)) => Ok(data),
            Some(Numbers::Floats(_)) => {
                Err(Error::input(PLACE, format!("{name:?} holds floats, expected integers")))
            }
            None => Err(missing(name)),
        }
    }
}

fn missing(name: &str) -> Error {
    Error::input(PLACE, format!("{name:?} is missing, expected every array of state_dict()"))
}

/// The traces of a rule with their names.
fn traces(rule: &mut Plasticity) -> Vec<(String, &mut Trace)> {
    let mut out = vec![("post".to_string(), &mut rule.post)];
    out.extend(rule.post_slow.iter_mut().map(|trace| ("post_slow".to_string(), trace)));
    for (k, edge) in rule.edges.iter_mut().enumerate() {
        out.push((format!("pre{k}"), &mut edge.pre));
        out.extend(edge.pre_slow.iter_mut().map(|trace| (format!("pre_slow{k}"), trace)));
    }
    out
}

fn eligible(rule: &mut Plasticity) -> impl Iterator<Item = (String, &mut Eligibility)> {
    let edges = rule.edges.iter_mut().enumerate();
    edges.filter_map(|(k, edge)| Some((format!("eligible{k}"), edge.eligible.as_mut()?)))
}

impl Learner {
    /// Everything that learning has changed, and where it stands.
    pub fn state(&self) -> Vec<Saved> {
        self.export(&mut self.live.clone())
    }

    fn export(&self, live: &mut Live) -> Vec<Saved> {
        let mut out = Arrays(Vec::new());
        out.counts("learn/clock".into(), &[2], vec![live.step, live.samples]);
        for array in state::export(&self.plan, std::slice::from_ref(&live.state)) {
            if let StateData::F32(data) = array.data {
                out.floats(array.name, &array.shape, data);
            }
        }
        for (k, layer) in live.layers.iter_mut().enumerate() {
            let weights = layer.export();
            out.floats(format!("learn/weight{k}"), &[weights.len()], weights);
            let changed: Vec<u32> = layer.changed().iter().map(|&c| u32::from(c)).collect();
            out.counts(format!("learn/changed{k}"), &[changed.len()], changed);
        }
        let (layers, rules) = (&live.layers, &mut live.plasticities);
        for (k, rule) in rules.iter_mut().enumerate() {
            for (name, trace) in traces(rule) {
                let (value, last) = trace.export();
                let name = format!("learn/rule{k}/{name}");
                out.floats(name.clone(), &[value.len()], value.to_vec());
                out.counts(format!("{name}/step"), &[last.len()], last.to_vec());
            }
            let layer: &Layer = &layers[rule.layer];
            for (name, eligible) in eligible(rule) {
                let name = format!("learn/rule{k}/{name}");
                let value: Vec<f32> = layer.places().map(|(at, _)| eligible.value[at]).collect();
                let last: Vec<u32> = layer.places().map(|(at, _)| eligible.last[at]).collect();
                out.floats(name.clone(), &[value.len()], value);
                out.counts(format!("{name}/step"), &[last.len()], last);
            }
        }
        for (k, memory) in live.memories.iter().enumerate() {
            let pairs = |all: &[(u32, u32)]| all.iter().flat_map(|&(a, b)| [a, b]).collect();
            let sizes: Vec<u32> = memory.recent.iter().map(|step| step.len() as u32).collect();
            let recent: Vec<u32> = memory.recent.iter().flatten().copied().collect();
            let name = |part: &str| format!("learn/wta{k}/{part}");
            out.counts(name("winners"), &[memory.winners.len(), 2], pairs(&memory.winners));
            out.counts(name("maps"), &[memory.maps.len(), 2], pairs(&memory.maps));
            out.counts(name("recent_sizes"), &[sizes.len()], sizes);
            out.counts(name("recent"), &[recent.len()], recent);
        }
        out.0
    }

    /// Goes on from what [`Self::state`] gave; nothing changes at an error.
    pub fn load_state(&mut self, arrays: Vec<Saved>) -> Result<()> {
        let mut live = self.live.clone();
        live.reset(&[], &self.initial);
        let expected = self.export(&mut live);
        check(&expected, &arrays)?;
        let arrays = Arrays(arrays);
        let clock = arrays.take_counts("learn/clock")?;
        (live.step, live.samples) = (clock[0], clock[1]);
        let of_network = |a: &&Saved| expected.iter().any(|e| e.name == a.name);
        let network: Vec<StateArray> = arrays
            .0
            .iter()
            .filter(|a| !a.name.starts_with("learn/"))
            .filter(of_network)
            .map(|a| {
                let data = arrays.take_floats(&a.name)?.to_vec();
                Ok(StateArray {
                    name: a.name.clone(),
                    shape: a.shape.clone(),
                    data: StateData::F32(data),
                })
            })
            .collect::<Result<_>>()?;
        if let Some(state) = state::import(&self.plan, &network)?.into_iter().next() {
            live.state = state;
        }
        for (k, layer) in live.layers.iter_mut().enumerate() {
            layer.import(arrays.take_floats(&format!("learn/weight{k}"))?);
            let changed = arrays.take_counts(&format!("learn/changed{k}"))?;
            *layer.changed() = changed.iter().map(|&c| c != 0).collect();
        }
        let (layers, rules) = (&live.layers, &mut live.plasticities);
        for (k, rule) in rules.iter_mut().enumerate() {
            within(&rule.change, &arrays, &format!("learn/weight{}", rule.layer))?;
            for (name, trace) in traces(rule) {
                let name = format!("learn/rule{k}/{name}");
                let last = arrays.take_counts(&format!("{name}/step"))?;
                trace.restore(arrays.take_floats(&name)?, last);
            }
            let layer: &Layer = &layers[rule.layer];
            for (name, eligible) in eligible(rule) {
                let name = format!("learn/rule{k}/{name}");
                let value = arrays.take_floats(&name)?;
                let last = arrays.take_counts(&format!("{name}/step"))?;
                for (place, (&value, &last)) in layer.places().zip(value.iter().zip(last)) {
                    eligible.restore(place, value, last);
                }
            }
        }
        for (k, memory) in live.memories.iter_mut().enumerate() {
            let part = |part: &str| arrays.take_counts(&format!("learn/wta{k}/{part}"));
            let pairs = |all: &[u32]| all.chunks_exact(2).map(|p| (p[0], p[1])).collect();
            memory.winners = pairs(part("winners")?);
            memory.maps = pairs(part("maps")?);
            let mut recent = part("recent")?.iter().copied();
            let sizes = part("recent_sizes")?.iter();
            memory.recent = sizes
                .map(|&n| recent.by_ref().take(n as usize).collect())
                .collect::<VecDeque<Vec<u32>>>();
        }
        self.live = live;
        Ok(())
    }
}

/// Weights have to lie within the bounds of their rule, where learning leaves them.
fn within(change: &Change, arrays: &Arrays, name: &str) -> Result<()> {
    let (low, high) = (change.low, change.high);
    match arrays.take_floats(name)?.iter().find(|w| !(low..=high).contains(*w)) {
        Some(w) => {
            let problem = format!("{name:?} has {w}, expected {low} to {high} as the rule says");
            Err(Error::input(PLACE, problem))
        }
        None => Ok(()),
    }
}

/// What lists of any length are called.
fn is_list(name: &str) -> bool {
    name.starts_with("learn/wta")
}

fn check(expected: &[Saved], arrays: &[Saved]) -> Result<()> {
    for want in expected {
        if !arrays.iter().any(|a| a.name == want.name) {
            return Err(missing(&want.name));
        }
    }
    for array in arrays {
        let Some(want) = expected.iter().find(|want| want.name == array.name) else {
            let problem = format!("{:?} is no state of this network and rules", array.name);
            return Err(Error::input(PLACE, problem));
        };
        let len = match &array.data {
            Numbers::Floats(data) => data.len(),
            Numbers::Counts(data) => data.len(),
        };
        let fits = array.shape == want.shape || is_list(&array.name);
        if !fits || len != array.shape.iter().product::<usize>() {
            let expected = format!("{:?}", want.shape);
            return Err(Error::shape(PLACE, &array.name, &array.shape, expected));
        }
        let broken =
            matches!(&array.data, Numbers::Floats(all) if all.iter().any(|x| !x.is_finite()));
        if broken {
            let problem = format!("{:?} holds NaN or infinity, expected finite values", array.name);
            return Err(Error::input(PLACE, problem));
        }
    }
    Ok(())
}
