//! Numbers that look random and are the same for the same seed, index and place.

/// SplitMix64 (Steele, Lea and Flood 2014): any part of its sequence can be computed alone.
pub(crate) fn number(seed: u64, index: u64, place: u64) -> u64 {
    let mut z = mix(seed ^ mix(place)).wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = mix(z);
    z
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From 0 up to, not including, 1.
pub(crate) fn fraction(number: u64) -> f64 {
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

/// One of a few words.
pub(crate) fn word(number: u64) -> &'static str {
    const WORDS: [&str; 16] = [
        "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "islet", "juniper", "karst",
        "lagoon", "meadow", "nectar", "oasis", "prairie",
    ];
    WORDS[(number % WORDS.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_seed_index_and_place_only() {
        assert_eq!(number(1, 2, 3), number(1, 2, 3));
        let mut all: Vec<u64> = Vec::new();
        for seed in 0..4 {
            for index in 0..50 {
                all.extend((0..4).map(|place| number(seed, index, place)));
            }
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 800);
        assert!(all.iter().all(|number| (0.0..1.0).contains(&fraction(*number))));
    }
}
