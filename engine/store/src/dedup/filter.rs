//! Says of most hashes that they are not among some keys, at a byte a key (a Bloom filter).

/// Bits for a key, and how many of them it sets: one in forty unknown hashes passes.
const BITS: usize = 8;
const PROBES: u64 = 4;

#[derive(Debug)]
pub(super) struct Filter(Vec<u64>);

impl Filter {
    pub(super) fn new(keys: usize) -> Self {
        Self(vec![0; (keys * BITS).div_ceil(64).max(1)])
    }

    pub(super) fn add(&mut self, hash: u128) {
        for bit in self.bits(hash) {
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    pub(super) fn may_hold(&self, hash: u128) -> bool {
        self.bits(hash).into_iter().all(|bit| self.0[bit / 64] & 1 << (bit % 64) != 0)
    }

    pub(super) fn memory(&self) -> usize {
        self.0.len() * 8
    }

    /// The hash is a keyed one: its halves are as good as two others.
    fn bits(&self, hash: u128) -> [usize; PROBES as usize] {
        let (high, low) = ((hash >> 64) as u64, hash as u64);
        let all = self.0.len() as u128 * 64;
        std::array::from_fn(|probe| {
            let mixed = low.wrapping_add(high.wrapping_mul(probe as u64 * 2 + 1));
            ((u128::from(mixed) * all) >> 64) as usize
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_passes_and_few_others() {
        let mut filter = Filter::new(1000);
        let hash = |n: u64| {
            let mut hasher = siphasher::sip128::SipHasher13::new();
            std::hash::Hasher::write_u64(&mut hasher, n);
            siphasher::sip128::Hasher128::finish128(&hasher).as_u128()
        };
        (0..1000).for_each(|n| filter.add(hash(n)));
        assert!((0..1000).all(|n| filter.may_hold(hash(n))));
        let others = (1000..11_000).filter(|n| filter.may_hold(hash(*n))).count();
        assert!(others < 500, "{others}");
    }
}
