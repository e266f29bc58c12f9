//! Maths on slices. Kernels know no graph and check nothing: the plan is where all checks end.
//!
//! One generic body per kernel ([`block`], [`neuron`]), compiled once for every instruction set
//! through [`simd::Simd`] and chosen by [`level::Level`]; [`oracle`] holds the naive twins that
//! every level is tested against to the bit. SIMD lanes run over output channels, so the order
//! of the sums (S2) does not depend on the level.

pub mod aligned;
mod at_level;
pub mod block;
pub mod conductance;
pub mod dense;
pub mod dispatch;
pub mod events;
pub mod exp;
pub mod exp64;
pub mod fanout;
pub mod filter;
pub mod gated;
pub mod gather;
pub mod int;
pub mod level;
pub mod listops;
pub mod membranes;
pub mod neuron;
pub mod oracle;
pub mod oracle_conductance;
pub mod param;
pub mod philox;
pub mod poisson;
#[cfg(target_arch = "x86_64")]
mod poisson_x86;
pub mod rows;
pub mod scatter;
pub mod silence;
pub mod simd;
#[cfg(target_arch = "aarch64")]
mod simd_neon;
#[cfg(target_arch = "x86_64")]
mod simd_x86;
pub mod spread;
pub mod touched;
pub mod window;
