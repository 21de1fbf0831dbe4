//! The kernel for x86_64 with the SHA extensions: one pass over several SHA-256.
//!
//! One SHA-256 waits for its own last round most of the time; the rounds of others run while it waits. States that take
//! the same blocks share the message schedule too. It does not ask whether the processor has the instructions; its
//! caller does.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi64, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use super::{Block, Pass, State};

/// The constants of the rounds (FIPS 180-4, section 4.2.2), four a row.
#[rustfmt::skip]
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// A state as the instructions want it: its words a, b, e, f and c, d, g, h.
#[derive(Clone, Copy)]
struct Lanes {
    abef: __m128i,
    cdgh: __m128i,
}

/// Carries a pass out.
///
/// AVX is asked for because of its three-operand forms: without them two states and a third spend a quarter of their
/// time on moves between registers.
#[target_feature(enable = "sha,avx")]
pub(super) fn compress(pass: Pass<'_>) {
    match pass {
        Pass { one, twin: None, blocks, beside: None } => run([one], blocks, []),
        Pass { one, twin: Some(twin), blocks, beside: None } => run([one, twin], blocks, []),
        Pass { one, twin: None, blocks, beside: Some(beside) } => run([one], blocks, [beside]),
        Pass { one, twin: Some(twin), blocks, beside: Some(beside) } => run([one, twin], blocks, [beside]),
    }
}

/// Compresses `blocks` into each of `shared`, and as many blocks of its own into each of `beside`.
#[inline]
#[target_feature(enable = "sha,avx")]
fn run<const N: usize, const M: usize>(shared: [&mut State; N], blocks: &[Block], beside: [(&mut State, &[Block]); M]) {
    let mut a = [zero(); N];
    let mut b = [zero(); M];
    for (lanes, state) in a.iter_mut().zip(&shared) {
        *lanes = split(state);
    }
    for (lanes, (state, _)) in b.iter_mut().zip(&beside) {
        *lanes = split(state);
    }
    for (at, block) in blocks.iter().enumerate() {
        let before = (a, b);
        let mut w = load(block);
        let mut v = [w; M];
        for (v, (_, own)) in v.iter_mut().zip(&beside) {
            *v = load(&own[at]);
        }
        for row in 0..4 {
            rounds(row, w[row], &mut a);
            for (lanes, v) in b.iter_mut().zip(&v) {
                rounds(row, v[row], std::array::from_mut(lanes));
            }
        }
        for row in 4..16 {
            w = [w[1], w[2], w[3], schedule(w)];
            rounds(row, w[3], &mut a);
            for (lanes, v) in b.iter_mut().zip(&mut v) {
                *v = [v[1], v[2], v[3], schedule(*v)];
                rounds(row, v[3], std::array::from_mut(lanes));
            }
        }
        add(&mut a, &before.0);
        add(&mut b, &before.1);
    }
    for (lanes, state) in a.into_iter().zip(shared) {
        join(lanes, state);
    }
    for (lanes, (state, _)) in b.into_iter().zip(beside) {
        join(lanes, state);
    }
}

/// Four rounds of all states with the schedule's words of one row.
#[inline]
#[target_feature(enable = "sha,avx")]
fn rounds<const N: usize>(row: usize, words: __m128i, states: &mut [Lanes; N]) {
    let first = _mm_add_epi32(words, vector(K[row]));
    let second = _mm_shuffle_epi32(first, 0x0e);
    for state in states.iter_mut() {
        state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, first);
    }
    for state in states.iter_mut() {
        state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, second);
    }
}

/// The next four words of the schedule after the last sixteen (section 6.2.2, step 1).
#[inline]
#[target_feature(enable = "sha,avx")]
fn schedule(w: [__m128i; 4]) -> __m128i {
    let older = _mm_sha256msg1_epu32(w[0], w[1]);
    _mm_sha256msg2_epu32(_mm_add_epi32(older, _mm_alignr_epi8(w[3], w[2], 4)), w[3])
}

/// The words of a block, which are big-endian in it.
#[inline]
#[target_feature(enable = "sha,avx")]
fn load(block: &Block) -> [__m128i; 4] {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let half = |at: usize| i64::from_le_bytes(block.as_chunks().0[at]);
    [0, 2, 4, 6].map(|at| _mm_shuffle_epi8(_mm_set_epi64x(half(at + 1), half(at)), order))
}

/// Adds the states before a block to those after its rounds.
#[inline]
#[target_feature(enable = "sha,avx")]
fn add<const N: usize>(after: &mut [Lanes; N], before: &[Lanes; N]) {
    for (after, before) in after.iter_mut().zip(before) {
        after.abef = _mm_add_epi32(after.abef, before.abef);
        after.cdgh = _mm_add_epi32(after.cdgh, before.cdgh);
    }
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn zero() -> Lanes {
    Lanes { abef: _mm_setzero_si128(), cdgh: _mm_setzero_si128() }
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn vector(words: [u32; 4]) -> __m128i {
    _mm_set_epi32(words[3].cast_signed(), words[2].cast_signed(), words[1].cast_signed(), words[0].cast_signed())
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn split(&[a, b, c, d, e, f, g, h]: &State) -> Lanes {
    Lanes { abef: vector([f, e, b, a]), cdgh: vector([h, g, d, c]) }
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn join(lanes: Lanes, state: &mut State) {
    let words = |half: i64| [(half >> 32) as u32, half as u32];
    let [a, b] = words(_mm_extract_epi64(lanes.abef, 1));
    let [e, f] = words(_mm_extract_epi64(lanes.abef, 0));
    let [c, d] = words(_mm_extract_epi64(lanes.cdgh, 1));
    let [g, h] = words(_mm_extract_epi64(lanes.cdgh, 0));
    *state = [a, b, c, d, e, f, g, h];
}
