//! Compresses tar headers: DEFLATE (RFC 1951) as far as bytes need it that repeat or equal the block before.
//!
//! A header is a name and some digits among zeros. One block with the fixed codes, runs of a byte and matches one tar
//! block back come to 4 % more than libdeflate's level 6, at a tenth of its time for a single header. It is of no use
//! for anything else: it looks for no other match.

use super::tar::BLOCK;

/// The shortest and the longest match (section 3.2.5).
const SHORTEST: usize = 3;
const LONGEST: usize = 258;

/// The distance code of one byte back.
const RUN: Code = Code { bits: 0, len: 5 };

/// The distance code of one tar block back: code 17, which reads the same from both ends, for 385 and on; then 7 bits.
const BLOCK_BACK: Code = Code { bits: 17 | (BLOCK as u32 - 385) << 5, len: 12 };

/// Appends one whole DEFLATE stream that holds `bytes`.
pub(super) fn deflate(bytes: &[u8], out: &mut Vec<u8>) {
    let mut bits = Bits { out, held: 0, count: 0 };
    // The last block, and one with the fixed codes.
    bits.put(Code { bits: 0b011, len: 3 });
    let mut at = 0;
    while at < bytes.len() {
        let (run, match_) = (same(bytes, at, 1), same(bytes, at, BLOCK));
        let (len, distance) = if run >= match_ { (run, RUN) } else { (match_, BLOCK_BACK) };
        if len < SHORTEST {
            bits.put(symbol(u32::from(bytes[at])));
            at += 1;
        } else {
            bits.put_length(len);
            bits.put(distance);
            at += len;
        }
    }
    bits.put(symbol(256));
    bits.finish();
}

/// How many bytes from `at` on equal those that lie `back` before them.
fn same(bytes: &[u8], at: usize, back: usize) -> usize {
    let Some(from) = at.checked_sub(back) else { return 0 };
    bytes[at..].iter().zip(&bytes[from..]).take(LONGEST).take_while(|(one, other)| one == other).count()
}

/// Bits as they stand in the stream, the first one lowest.
#[derive(Clone, Copy)]
struct Code {
    bits: u32,
    len: u32,
}

/// The fixed code of a literal, a length or the end (section 3.2.6); codes stand highest bit first.
fn symbol(symbol: u32) -> Code {
    let (code, len) = match symbol {
        0..144 => (0b0011_0000 + symbol, 8),
        144..256 => (0b1_1001_0000 + symbol - 144, 9),
        256..280 => (symbol - 256, 7),
        _ => (0b1100_0000 + symbol - 280, 8),
    };
    Code { bits: code.reverse_bits() >> (u32::BITS - len), len }
}

struct Bits<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    fn put(&mut self, code: Code) {
        self.held |= u64::from(code.bits) << self.count;
        self.count += code.len;
        if self.count >= 32 {
            self.out.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// The length of a match: a symbol for each power of two's four quarters, then the bits below (section 3.2.5).
    fn put_length(&mut self, len: usize) {
        if len == LONGEST {
            return self.put(symbol(285));
        }
        let offset = (len - SHORTEST) as u32;
        let below = offset.max(4).ilog2() - 2;
        self.put(symbol(257 + 4 * below + (offset >> below)));
        self.put(Code { bits: offset & ((1 << below) - 1), len: below });
    }

    fn finish(self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;
    use crate::layer::{Entry, EntryKind, EntryPath, PLACED_MTIME, tar};

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![7];
        deflate(bytes, &mut out);
        out.split_off(1)
    }

    fn inflated(stream: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        flate2::bufread::DeflateDecoder::new(stream).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn runs_and_repeated_blocks_of_every_length_are_read_back() {
        for len in (0..600).chain([1000, 4096]) {
            let run = vec![b'0'; len];
            assert_eq!(inflated(&deflated(&run)), run, "{len}");
            let mut twice: Vec<u8> = (0..BLOCK).map(|at| (at * 7 + at / 256) as u8).collect();
            twice.extend_from_within(..len.min(BLOCK));
            let stream = deflated(&twice);
            assert_eq!(inflated(&stream), twice, "{len}");
            assert!(stream.len() < BLOCK * 9 / 8 + 16, "the second block is a match");
        }
    }

    #[test]
    fn headers_come_to_little_more_than_a_compressor_makes_of_them() {
        let mut headers = Vec::new();
        for name in ["numpy/lib/_npyio_impl.py", "numpy/lib/_npyio_impl.pyi", "numpy/lib/_shape_base_impl.py"] {
            let path = EntryPath::parse(format!("usr/local/lib/python3.13/site-packages/{name}")).unwrap();
            let kind = EntryKind::File { size: 99_213 };
            tar::push_header(&Entry { path, kind, mode: 0o644, uid: 0, gid: 0, mtime: PLACED_MTIME }, &mut headers);
        }
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(6).unwrap());
        for count in [1, 3] {
            let headers = &headers[..count * BLOCK];
            let (stream, mut other) = (deflated(headers), vec![0; 4096]);
            let best = compressor.deflate_compress(headers, &mut other).unwrap();
            assert_eq!(inflated(&stream), headers);
            assert!(stream.len() <= best * 5 / 4, "{count}: {} against {best}", stream.len());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_back(parts in prop::collection::vec((any::<u8>(), 1_usize..700), 0..40)) {
            let bytes: Vec<u8> = parts.iter().flat_map(|(byte, len)| vec![*byte; *len % 300]).collect();
            prop_assert_eq!(inflated(&deflated(&bytes)), bytes);
        }
    }
}
