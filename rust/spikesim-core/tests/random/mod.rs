//! What the tests of the kernels draw their cases from.

/// A small generator of its own: the cases are the same on every machine.
pub struct Random(pub u64);

#[allow(dead_code, reason = "not every file of tests draws everything")]
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let x = ((self.0 >> 18) ^ self.0) >> 27;
        (x as u32).rotate_right((self.0 >> 59) as u32) as u64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn float(&mut self) -> f32 {
        self.next() as f32 / u32::MAX as f32 * 2.0 - 1.0
    }

    pub fn coin(&mut self, p: f32) -> bool {
        (self.next() as f32 / u32::MAX as f32) < p
    }
}
