//! SHA-256 (FIPS 180-4) whose state is at hand, so that two hashes can take the same bytes in one pass.
//!
//! It does not compress a single stream's blocks itself; the `sha2` crate does. The decision is in
//! `docs/adr/0008-pair-hashing.md`.

use sha2::block_api::compress256;

/// The state before the first block (section 5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Bytes of a block.
const BLOCK: usize = 64;

/// A running SHA-256.
#[derive(Clone)]
pub(super) struct Sha256 {
    state: [u32; 8],
    /// The bytes behind the last whole block; how many they are follows from `length`.
    rest: [u8; BLOCK],
    /// Bytes taken so far.
    length: u64,
}

impl Sha256 {
    pub(super) fn new() -> Self {
        Self { state: START, rest: [0; BLOCK], length: 0 }
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let bytes = self.fill(bytes);
        let (blocks, rest) = bytes.as_chunks();
        compress256(&mut self.state, blocks);
        self.keep(blocks.len(), rest);
    }

    /// Takes the next bytes of both hashes; in one pass when both stand at the same place of a block.
    pub(super) fn update_pair(&mut self, other: &mut Self, bytes: &[u8]) {
        if self.filled() != other.filled() {
            self.update(bytes);
            return other.update(bytes);
        }
        other.fill(bytes);
        let bytes = self.fill(bytes);
        let (blocks, rest) = bytes.as_chunks();
        compress_pair(&mut self.state, &mut other.state, blocks);
        self.keep(blocks.len(), rest);
        other.keep(blocks.len(), rest);
    }

    /// Ends the hash.
    pub(super) fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8);
        let mut padding = [0; BLOCK + 8];
        padding[0] = 0x80;
        let zeros = (2 * BLOCK - 9 - self.filled()) % BLOCK;
        padding[1 + zeros..9 + zeros].copy_from_slice(&bits.to_be_bytes());
        self.update(&padding[..9 + zeros]);
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }

    /// Bytes of a block that is begun.
    fn filled(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// Completes a block that is begun, as far as `bytes` reach; gives those that are left.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let filled = self.filled();
        if filled == 0 {
            return bytes;
        }
        let (now, later) = bytes.split_at(bytes.len().min(BLOCK - filled));
        self.rest[filled..filled + now.len()].copy_from_slice(now);
        self.length += now.len() as u64;
        if self.filled() == 0 {
            compress256(&mut self.state, &[self.rest]);
        }
        later
    }

    /// Counts blocks that were compressed and keeps the bytes behind them.
    fn keep(&mut self, blocks: usize, rest: &[u8]) {
        self.length += (blocks * BLOCK + rest.len()) as u64;
        self.rest[..rest.len()].copy_from_slice(rest);
    }
}

/// Compresses the same blocks into two states.
fn compress_pair(one: &mut [u32; 8], other: &mut [u32; 8], blocks: &[[u8; BLOCK]]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sha")
        && std::arch::is_x86_feature_detected!("ssse3")
        && std::arch::is_x86_feature_detected!("sse4.1")
    {
        #[expect(unsafe_code, reason = "a function with target features is called once they are detected")]
        // SAFETY: the processor has the features that `sha_ni::compress_pair` enables, as was just asked; SSE2 is in
        // every x86_64. The function asks for nothing else.
        unsafe {
            sha_ni::compress_pair(one, other, blocks);
        }
        return;
    }
    compress256(one, blocks);
    compress256(other, blocks);
}

#[cfg(target_arch = "x86_64")]
mod sha_ni;

#[cfg(test)]
mod tests;
