//! Seeded dice. Every decision about a message is drawn from a generator derived from the sandbox's seed,
//! the merchant, the recipient and the ordinal of the attempt to that recipient, so the order in which
//! concurrent calls happen to arrive never changes what befalls a message. Holds no state of its own.

use fastrand::Rng;

/// Folds texts and a number into 64 well-spread bits (FNV-1a, then the splitmix64 finaliser).
pub(super) fn mix(seed: u64, parts: &[&str], ordinal: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let mut z = hash
        .wrapping_add(ordinal)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A generator for one purpose, named by `parts` and `ordinal`.
pub(super) fn rng(seed: u64, parts: &[&str], ordinal: u64) -> Rng {
    Rng::with_seed(mix(seed, parts, ordinal))
}

/// Throws once; always consumes one draw, so changing one share does not shift the throws after it.
pub(super) fn chance(rng: &mut Rng, share: f64) -> bool {
    rng.f64() < share
}

/// A base with a symmetric random deviation of at most `jitter`, never below zero.
pub(super) fn around(rng: &mut Rng, base: u64, jitter: u64) -> u64 {
    if jitter == 0 {
        return base;
    }
    (base + rng.u64(0..=jitter * 2)).saturating_sub(jitter)
}

/// A version-4-looking UUID.
pub(super) fn uuid(rng: &mut Rng) -> String {
    let (a, b) = (rng.u64(..), rng.u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0x0fff,
        (b >> 48) & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

/// A text of letters and digits.
pub(super) fn opaque(rng: &mut Rng, length: usize) -> String {
    std::iter::repeat_with(|| rng.alphanumeric())
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_gives_the_same_dice_and_another_name_others() {
        let mut first = rng(7, &["m", "123"], 0);
        let mut again = rng(7, &["m", "123"], 0);
        assert_eq!(uuid(&mut first), uuid(&mut again));
        assert_ne!(mix(7, &["m", "123"], 0), mix(7, &["m1", "23"], 0));
        assert_ne!(mix(7, &["m", "123"], 0), mix(7, &["m", "123"], 1));
        assert_ne!(mix(7, &["m", "123"], 0), mix(8, &["m", "123"], 0));
    }

    #[test]
    fn a_uuid_looks_like_one() {
        let text = uuid(&mut Rng::with_seed(1));
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }

    #[test]
    fn shares_of_nothing_and_all_are_certain() {
        let mut dice = Rng::with_seed(3);
        assert!((0..1000).all(|_| !chance(&mut dice, 0.0)));
        assert!((0..1000).all(|_| chance(&mut dice, 1.0)));
        assert!((0..1000).all(|_| (5..=15).contains(&around(&mut dice, 10, 5))));
    }
}
