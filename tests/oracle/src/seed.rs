//! One number from which everything random follows: ids, sizes, the moments of faults.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use siphasher::sip::SipHasher13;

/// A seed, and seeds for the parts of a run derived from it by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of a part: the same name gives the same seed.
    #[must_use]
    pub fn of(self, part: &str) -> Self {
        Self(SipHasher13::new_with_keys(self.0, 0x006b_6172_657a).hash(part.as_bytes()))
    }

    #[must_use]
    pub fn random(self) -> SmallRng {
        SmallRng::seed_from_u64(self.0)
    }
}

impl std::fmt::Display for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
