//! Equality with the `sha2` crate, whatever the lengths and places.

use proptest::prelude::*;
use sha2::Digest as _;

use super::*;

fn theirs(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

#[test]
fn hashes_of_known_input_match_fips_180() {
    let vectors: [(&[u8], [u8; 4]); 4] = [
        (b"", [0xe3, 0xb0, 0xc4, 0x42]),
        (b"abc", [0xba, 0x78, 0x16, 0xbf]),
        (b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", [0x24, 0x8d, 0x6a, 0x61]),
        (&[b'a'; 1_000_000], [0xcd, 0xc7, 0x6e, 0x5c]),
    ];
    for (input, start) in vectors {
        let (mut one, mut other) = (Sha256::new(), Sha256::new());
        one.update_pair(&mut other, input);
        let hashes = [one.finish(), other.finish()];
        assert_eq!(hashes, [theirs(input); 2], "{} bytes", input.len());
        assert_eq!(hashes[0][..4], start, "{} bytes", input.len());
    }
}

#[test]
fn every_length_and_place_up_to_some_blocks_hashes_as_sha2_does() {
    let content = bytes(400);
    for before in 0..=130 {
        for len in 0..=content.len() - before {
            let mut hash = Sha256::new();
            hash.update(&content[..before]);
            hash.update(&content[before..before + len]);
            assert_eq!(hash.finish(), theirs(&content[..before + len]), "{before} and {len}");
        }
    }
}

#[test]
fn pair_of_different_beginnings_hashes_as_sha2_does() {
    let content = bytes(1000);
    for (one_start, other_start) in [(0, 0), (0, 64), (512, 0), (3, 67), (1, 0), (63, 64), (100, 101), (0, 32)] {
        for len in (0..200).chain(700..=1000) {
            let (mut one, mut other) = (Sha256::new(), Sha256::new());
            one.update(&vec![1; one_start]);
            other.update(&vec![2; other_start]);
            one.update_pair(&mut other, &content[..len]);
            let expected = |first: u8, start| theirs(&[&vec![first; start], &content[..len]].concat());
            let place = format!("{one_start}, {other_start}, {len}");
            assert_eq!(one.finish(), expected(1, one_start), "{place}");
            assert_eq!(other.finish(), expected(2, other_start), "{place}");
        }
    }
}

proptest! {
    #[test]
    fn any_mixture_of_updates_hashes_as_sha2_does(
        steps in prop::collection::vec((0_u8..3, prop::collection::vec(any::<u8>(), 0..400)), 0..12),
    ) {
        let (mut one, mut other) = (Sha256::new(), Sha256::new());
        let (mut to_one, mut to_other) = (Vec::new(), Vec::new());
        for (kind, bytes) in &steps {
            match kind {
                0 => one.update(bytes),
                1 => other.update(bytes),
                _ => one.update_pair(&mut other, bytes),
            }
            if *kind != 1 {
                to_one.extend_from_slice(bytes);
            }
            if *kind != 0 {
                to_other.extend_from_slice(bytes);
            }
        }
        prop_assert_eq!(one.finish(), theirs(&to_one));
        prop_assert_eq!(other.finish(), theirs(&to_other));
    }
}
