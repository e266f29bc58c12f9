//! The constants of the conductance model: as its author writes them, and rounded once.

use std::collections::BTreeMap;

use crate::kernels::conductance::Membrane;
use crate::{Error, Result};

macro_rules! params {
    ($($(#[$doc:meta])+ $name:ident = $value:expr;)+) => {
        /// Constants as their author writes them, ms and mV; the paper's by default.
        #[derive(Clone, Debug, PartialEq)]
        pub struct ConductanceParams {
            $($(#[$doc])+ pub $name: f64,)+
        }

        impl Default for ConductanceParams {
            fn default() -> Self {
                Self { $($name: $value,)+ }
            }
        }

        impl ConductanceParams {
            /// Their names, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            fn get_mut(&mut self, name: &str) -> Option<&mut f64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }

            fn all(&self) -> Vec<(&'static str, f64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }
    };
}

params! {
    /// One step, ms.
    dt = 0.5;
    /// Membrane of the excitatory neurons, ms.
    tau_exc = 100.0;
    /// Where they rest, mV.
    v_rest_exc = -65.0;
    /// Where they are after a spike, mV.
    v_reset_exc = -65.0;
    /// Their threshold without theta, mV (−52 less the offset of 20).
    v_threshold_exc = -72.0;
    /// Refractory time, ms.
    refractory_exc = 5.0;
    /// Reversal of inhibition, mV (that of excitation is 0).
    e_inh_exc = -100.0;
    /// Membrane of the inhibitory neurons, ms.
    tau_inh = 10.0;
    /// Where they rest, mV.
    v_rest_inh = -60.0;
    /// Where they are after a spike, mV.
    v_reset_inh = -45.0;
    /// Their threshold, mV.
    v_threshold_inh = -40.0;
    /// Refractory time, ms.
    refractory_inh = 2.0;
    /// Excitatory conductances, ms.
    tau_g_e = 1.0;
    /// Inhibitory conductances, ms.
    tau_g_i = 2.0;
    /// Weight from an excitatory neuron to its inhibitory one.
    w_exc = 10.4;
    /// Weight from an inhibitory neuron to all others' excitatory ones.
    w_inh = 17.0;
    /// Added to theta on each own spike, mV.
    theta_plus = 0.05;
    /// Decay of theta, ms.
    tau_theta = 1e7;
    /// Trace of the input spikes, ms.
    tau_pre = 20.0;
    /// Trace of own spikes that input spikes depress by, ms.
    tau_post = 20.0;
    /// Trace of own spikes that own spikes potentiate by, ms.
    tau_post_slow = 40.0;
    /// Rate of depression.
    eta_pre = 1e-4;
    /// Rate of potentiation.
    eta_post = 1e-2;
    /// Largest weight.
    w_max = 1.0;
    /// Sum of a neuron's weights after normalisation.
    norm = 78.0;
    /// Theta at the beginning, mV.
    theta_init = 20.0;
}

impl ConductanceParams {
    /// The paper's, but for those that are `given` by name.
    pub fn with(given: &BTreeMap<String, f64>) -> Result<Self> {
        let mut params = Self::default();
        for (name, value) in given {
            let Some(place) = params.get_mut(name) else {
                let known = Self::NAMES.join(", ");
                let problem = format!("is unknown, expected one of {known}");
                return Err(Error::input(name.clone(), problem));
            };
            *place = *value;
        }
        Ok(params)
    }
}

/// What the steps work with.
#[derive(Clone, Debug)]
pub struct Constants {
    /// Excitatory membranes.
    pub exc: Membrane,
    /// Inhibitory membranes.
    pub inh: Membrane,
    /// Excitatory to inhibitory.
    pub w_exc: f32,
    /// Inhibitory to excitatory.
    pub w_inh: f32,
    /// Growth of theta.
    pub theta_plus: f32,
    dt_over_tau_theta: f64,
}

impl Constants {
    /// What theta keeps over `steps`.
    pub fn theta_keep(&self, steps: usize) -> f32 {
        (-(steps as f64) * self.dt_over_tau_theta).exp() as f32
    }
}

impl ConductanceParams {
    /// Checked and rounded, for `n` neurons.
    pub fn constants(&self, n: usize) -> Result<Constants> {
        for (name, value) in self.all() {
            let positive = name == "dt" || name == "norm" || name.starts_with("tau_");
            let any = name.starts_with("v_") || name == "e_inh_exc";
            if !value.is_finite() || (positive && value <= 0.0) || (!any && value < 0.0) {
                let bound = if positive {
                    ", > 0"
                } else if any {
                    ""
                } else {
                    ", >= 0"
                };
                return Err(Error::input(name, format!("{value}, expected finite{bound}")));
            }
        }
        // The argument of φ has a bound, which no reachable conductance may pass.
        let most = self.w_inh * n as f64 / (1.0 - (-self.dt / self.tau_g_i).exp());
        if self.dt / self.tau_exc.min(self.tau_inh) * (1.0 + most + self.w_exc) > 1e6 {
            let text = format!("{} with {n} neurons is out of range, expected less", self.w_inh);
            return Err(Error::input("w_inh", text));
        }
        for (name, v_reset, v_threshold) in [
            ("v_reset_exc", self.v_reset_exc, f64::INFINITY),
            ("v_reset_inh", self.v_reset_inh, self.v_threshold_inh),
        ] {
            if v_reset >= v_threshold {
                let text = format!("{v_reset}, expected below the threshold {v_threshold}");
                return Err(Error::input(name, text));
            }
        }
        let keep = |tau: f64| (-self.dt / tau).exp() as f32;
        let steps = |ms: f64| (ms / self.dt).round() as f32;
        Ok(Constants {
            exc: Membrane {
                h: (self.dt / self.tau_exc) as f32,
                v_rest: self.v_rest_exc as f32,
                v_reset: self.v_reset_exc as f32,
                v_threshold: self.v_threshold_exc as f32,
                e_inh: self.e_inh_exc as f32,
                keep_e: keep(self.tau_g_e),
                keep_i: keep(self.tau_g_i),
                refractory: steps(self.refractory_exc),
            },
            inh: Membrane {
                h: (self.dt / self.tau_inh) as f32,
                v_rest: self.v_rest_inh as f32,
                v_reset: self.v_reset_inh as f32,
                v_threshold: self.v_threshold_inh as f32,
                e_inh: 0.0,
                keep_e: keep(self.tau_g_e),
                keep_i: 0.0,
                refractory: steps(self.refractory_inh),
            },
            w_exc: self.w_exc as f32,
            w_inh: self.w_inh as f32,
            theta_plus: self.theta_plus as f32,
            dt_over_tau_theta: self.dt / self.tau_theta,
        })
    }

    /// A trace that is 1 at a spike, by steps since then, for as long as it is at least 2⁻²⁴.
    pub(super) fn trace(&self, tau: f64) -> Vec<f32> {
        let value = |k: usize| (-(k as f64) * self.dt / tau).exp() as f32;
        (0..).map(value).take_while(|&x| x >= 1.0 / 16_777_216.0).collect()
    }
}
