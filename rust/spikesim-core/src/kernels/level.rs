//! The instruction sets the kernels are compiled for.

use crate::{Error, Result};

/// An instruction set, from the plainest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// What every CPU of the architecture has; portable code.
    Baseline,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// 64-bit Arm with NEON.
    Neon,
}

impl Level {
    /// Every level there is, on any machine.
    pub const ALL: [Level; 4] = [Level::Baseline, Level::Avx2, Level::Avx512, Level::Neon];

    /// The name used in Python, files and knobs.
    pub fn name(self) -> &'static str {
        match self {
            Level::Baseline => "baseline",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Neon => "neon",
        }
    }

    /// Whether this CPU has it.
    pub fn is_available(self) -> bool {
        match self {
            Level::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "aarch64")]
            Level::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The levels this CPU has, plainest first.
    pub fn available() -> Vec<Level> {
        Self::ALL.into_iter().filter(|l| l.is_available()).collect()
    }

    /// The best level this CPU has.
    pub fn best() -> Level {
        Self::available().pop().unwrap_or(Level::Baseline)
    }

    /// The level called `name`, if this CPU has it.
    pub fn parse(name: &str) -> Result<Level> {
        let names = || Self::available().iter().map(|l| l.name()).collect::<Vec<_>>().join(", ");
        match Self::ALL.into_iter().find(|l| l.name() == name) {
            Some(level) if level.is_available() => Ok(level),
            Some(_) => Err(Error::unsupported(
                "level",
                format!("\"{name}\" on this CPU"),
                &format!("it has {}", names()),
            )),
            None => Err(Error::input(
                "level",
                format!("\"{name}\" is unknown, expected one of {}", names()),
            )),
        }
    }

    /// The level called `name`, or the best one where none is named.
    pub fn chosen(name: Option<&str>) -> Result<Level> {
        name.map_or_else(|| Ok(Self::best()), Self::parse)
    }

    /// Vectors of 16 lanes that a block of outputs may have so that its sums stay in registers.
    pub fn max_vectors(self) -> usize {
        match self {
            Level::Baseline => 2,
            _ => 4,
        }
    }
}
