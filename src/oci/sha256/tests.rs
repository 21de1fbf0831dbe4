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
        let mut apart = Sha256::new();
        one.update_beside(Some(&mut other), input, &mut apart, input);
        let hashes = [one.finish(), other.finish(), apart.finish()];
        assert_eq!(hashes, [theirs(input); 3], "{} bytes", input.len());
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
            let mut apart = other.clone();
            one.update_beside(Some(&mut other), &content[..len], &mut apart, &content[len / 2..]);
            let expected = |first: u8, start| theirs(&[&vec![first; start], &content[..len]].concat());
            let place = format!("{one_start}, {other_start}, {len}");
            assert_eq!(one.finish(), expected(1, one_start), "{place}");
            assert_eq!(other.finish(), expected(2, other_start), "{place}");
            assert_eq!(apart.finish(), theirs(&[&vec![2; other_start], &content[len / 2..]].concat()), "{place}");
        }
    }
}

#[test]
fn pass_without_the_kernel_gives_the_same_states() {
    let blocks = bytes(64 * 7);
    let (blocks, own) = (blocks[..64 * 3].as_chunks().0, blocks[64 * 4..].as_chunks().0);
    for (with_twin, with_beside) in [(false, false), (false, true), (true, false), (true, true)] {
        let states = |run: fn(Pass<'_>)| {
            let mut states = [START, [1; 8], [2; 8]];
            let [one, twin, other] = &mut states;
            let (twin, beside) = (with_twin.then_some(twin), with_beside.then_some((other, own)));
            run(Pass { one, twin, blocks, beside });
            states
        };
        let portable = states(compress_in_turn);
        assert_eq!(portable, states(compress), "twin {with_twin}, beside {with_beside}");
        assert_eq!(
            [portable[1] != [1; 8], portable[2] != [2; 8]],
            [with_twin, with_beside],
            "a state changes when it takes part, and only then"
        );
    }
}

proptest! {
    #[test]
    fn any_mixture_of_updates_hashes_as_sha2_does(
        steps in prop::collection::vec(
            (0_u8..8, prop::collection::vec(any::<u8>(), 0..400), prop::collection::vec(any::<u8>(), 0..400)),
            0..12,
        ),
    ) {
        let mut hashes = [Sha256::new(), Sha256::new(), Sha256::new()];
        let mut taken = [const { Vec::new() }; 3];
        for (kind, bytes, others) in &steps {
            let [one, twin, other] = &mut hashes;
            match kind {
                0..3 => hashes[usize::from(*kind)].update(bytes),
                3 => one.update_beside(None, bytes, other, others),
                _ => one.update_beside(Some(twin), bytes, other, others),
            }
            for (at, taken) in taken.iter_mut().enumerate() {
                match (kind, at) {
                    (0..3, at) if usize::from(*kind) != at => {}
                    (3, 1) => {}
                    (3.., 2) => taken.extend_from_slice(others),
                    _ => taken.extend_from_slice(bytes),
                }
            }
        }
        for (hash, taken) in hashes.into_iter().zip(&taken) {
            prop_assert_eq!(hash.finish(), theirs(taken));
        }
    }
}
