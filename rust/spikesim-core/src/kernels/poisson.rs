//! Poisson trains from counters: whether an input spikes at a step is a function of the seed, the
//! purpose, the sample, the input and the step, whatever is drawn beside it.
//!
//! One call of Philox gives eight draws of sixteen bits, those of eight steps of one input;
//! lanes run over inputs, so that the events of a step come out in ascending order.

use super::level::Level;
use super::philox::philox;
#[cfg(target_arch = "x86_64")]
use super::poisson_x86;

/// Steps that one call of Philox serves.
pub const BLOCK: usize = 8;

/// Inputs drawn at once.
pub const GROUP: usize = 16;

/// The longest presentation: the block's number has sixteen bits.
pub const MAX_STEPS: usize = BLOCK << 16;

/// What draws are for, and of which sample.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// The seed's two halves.
    pub key: [u32; 2],
    /// What the draws are for.
    pub purpose: u8,
    /// Which try of the same sample.
    pub attempt: u8,
    /// Which sample.
    pub sample: u64,
}

impl Stream {
    /// The counter of an input's draws in a block of steps.
    #[inline(always)]
    pub fn counter(&self, block: u32, input: u32) -> [u32; 4] {
        let what = u32::from(self.purpose) << 24 | u32::from(self.attempt) << 16;
        [what | block, input, self.sample as u32, (self.sample >> 32) as u32]
    }
}

/// Spikes of a presentation: the inputs of each step, ascending.
#[derive(Clone, Debug, Default)]
pub struct Trains {
    rows: Vec<u32>,
    start: Vec<u32>,
}

impl Trains {
    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.start.len().saturating_sub(1)
    }

    /// The inputs that spike at step `t`.
    #[inline(always)]
    pub fn at(&self, t: usize) -> &[u32] {
        &self.rows[self.start[t] as usize..self.start[t + 1] as usize]
    }

    /// Number of spikes of all steps.
    pub fn len(&self) -> usize {
        self.start.last().map_or(0, |&n| n as usize)
    }

    /// Whether nothing spikes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of `inputs` inputs that spike, ascending.
    pub fn inputs(&self, inputs: usize) -> impl Iterator<Item = u32> {
        let mut spikes = vec![false; inputs];
        self.rows[..self.len()].iter().for_each(|&i| spikes[i as usize] = true);
        (0..inputs as u32).zip(spikes).filter_map(|(i, spikes)| spikes.then_some(i))
    }

    /// All spikes, and where those of each step begin.
    #[inline(always)]
    pub fn parts(&self) -> (&[u32], &[u32]) {
        (&self.rows, &self.start)
    }

    /// Takes over a raster `[step][input]` of which everything but zero is a spike.
    pub fn read(&mut self, raster: &[u8], inputs: usize) {
        self.rows.clear();
        self.start.clear();
        self.start.push(0);
        for step in raster.chunks_exact(inputs) {
            let spikes = step.iter().enumerate().filter(|(_, s)| **s != 0);
            self.rows.extend(spikes.map(|(i, _)| i as u32));
            self.start.push(self.rows.len() as u32);
        }
    }
}

/// Inputs that can spike and their chances, in groups of [`GROUP`].
#[derive(Clone, Debug, Default)]
pub struct Chances {
    /// Input indices, ascending; the last group is filled up.
    pub inputs: Vec<u32>,
    /// Chance in 1/65536, of each; 0 where the group is filled up.
    pub chances: Vec<u32>,
    /// How many are real.
    pub len: usize,
}

impl Chances {
    /// The chances of `p·factor`, rounded to 1/65536; inputs without a chance are left out.
    pub fn fill(&mut self, p: &[f32], factor: f32) {
        self.inputs.clear();
        self.chances.clear();
        for (i, &p) in p.iter().enumerate() {
            // A cast from a float too large for it gives the largest number.
            let chance = (((p * factor) * 65536.0 + 0.5) as u32).min(65536);
            if chance > 0 {
                self.inputs.push(i as u32);
                self.chances.push(chance);
            }
        }
        self.len = self.inputs.len();
        let padded = self.len.next_multiple_of(GROUP);
        self.inputs.resize(padded, 0);
        self.chances.resize(padded, 0);
    }

    /// Only which inputs can spike, ascending, where spikes are not drawn.
    pub fn keep(&mut self, inputs: impl Iterator<Item = u32>) {
        self.inputs.clear();
        self.inputs.extend(inputs);
        self.len = self.inputs.len();
    }

    /// The inputs that can spike.
    pub fn real(&self) -> &[u32] {
        &self.inputs[..self.len]
    }
}

/// Draws `steps` steps of every input's train.
pub fn draw(level: Level, stream: &Stream, chances: &Chances, steps: usize, trains: &mut Trains) {
    assert!(
        level.is_available() && steps <= MAX_STEPS && chances.inputs.len().is_multiple_of(GROUP)
    );
    assert_eq!(chances.inputs.len(), chances.chances.len());
    trains.start.clear();
    trains.start.push(0);
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level is available, and groups are whole.
        Level::Avx512 => unsafe {
            poisson_x86::draw(stream, chances, steps, &mut trains.rows, &mut trains.start);
        },
        _ => draw_plain(stream, chances, steps, trains),
    }
}

fn draw_plain(stream: &Stream, chances: &Chances, steps: usize, trains: &mut Trains) {
    trains.rows.clear();
    let mut words: Vec<[u32; 4]> = Vec::with_capacity(chances.len);
    for block in 0..steps.div_ceil(BLOCK) {
        words.clear();
        let draws = chances.real().iter();
        words.extend(draws.map(|&i| philox(stream.counter(block as u32, i), stream.key)));
        for k in 0..BLOCK.min(steps - block * BLOCK) {
            for ((w, &chance), &i) in words.iter().zip(&chances.chances).zip(&chances.inputs) {
                if (w[k / 2] >> (16 * (k % 2))) & 0xffff < chance {
                    trains.rows.push(i);
                }
            }
            trains.start.push(trains.rows.len() as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chances(n: usize) -> Chances {
        let p: Vec<f32> = (0..n).map(|i| (i % 7) as f32 * 0.05).collect();
        let mut chances = Chances::default();
        chances.fill(&p, 1.5);
        chances
    }

    /// Every level against one call of Philox for each input and step.
    #[test]
    fn every_level_draws_the_same() {
        let stream = Stream { key: [7, 9], purpose: 2, attempt: 3, sample: 5 << 33 | 1 };
        for (n, steps) in [(1, 1), (16, 8), (40, 250), (300, 33)] {
            let chances = chances(n);
            let mut expected = Vec::new();
            for t in 0..steps {
                let at = chances.real().iter().zip(&chances.chances).filter(|(i, chance)| {
                    let words = philox(stream.counter((t / 8) as u32, **i), stream.key);
                    (words[t % 8 / 2] >> (16 * (t % 2))) & 0xffff < **chance
                });
                expected.push(at.map(|(&i, _)| i).collect::<Vec<_>>());
            }
            for level in Level::available() {
                let mut trains = Trains::default();
                draw(level, &stream, &chances, steps, &mut trains);
                let found: Vec<_> = (0..trains.steps()).map(|t| trains.at(t).to_vec()).collect();
                assert_eq!(found, expected, "{level:?}");
            }
        }
    }

    #[test]
    fn chances_are_rounded_and_bounded() {
        let mut chances = Chances::default();
        chances.fill(&[0.0, 1.0, 0.5, 1e30, 7.0e-6, 8.0e-6], 1.0);
        assert_eq!(chances.real(), [1, 2, 3, 5]);
        assert_eq!(chances.chances[..4], [65536, 32768, 65536, 1]);
        assert_eq!(chances.chances[4..], [0; 12]);
    }

    #[test]
    fn a_raster_is_read_in_order() {
        let mut trains = Trains::default();
        trains.read(&[0, 1, 1, 0, 0, 0, 1, 0, 0], 3);
        assert_eq!((trains.at(0), trains.at(1), trains.at(2)), (&[1, 2][..], &[][..], &[0][..]));
        assert_eq!(trains.len(), 3);
        assert_eq!(trains.inputs(4).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
