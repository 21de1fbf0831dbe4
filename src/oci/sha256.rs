//! SHA-256 (FIPS 180-4) whose state is at hand, so that several hashes can take their bytes in one pass.
//!
//! It does not compress a single stream's blocks itself; the `sha2` crate does. The decision is in
//! `docs/adr/0008-pair-hashing.md`.

use sha2::block_api::compress256;

/// The state before the first block (section 5.3.3).
const START: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Bytes of a block.
const BLOCK: usize = 64;

type State = [u32; 8];
type Block = [u8; BLOCK];

/// A running SHA-256.
#[derive(Clone)]
pub(super) struct Sha256 {
    state: State,
    /// The bytes behind the last whole block; how many they are follows from `length`.
    rest: Block,
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

    /// Takes `bytes` and lets `twin` take them too, while `other` takes `others`: in one pass as far as both reach.
    ///
    /// A twin that stands at another place of a block takes its bytes apart.
    pub(super) fn update_beside(&mut self, twin: Option<&mut Self>, bytes: &[u8], other: &mut Self, others: &[u8]) {
        let mut twin = match twin {
            Some(twin) if twin.filled() != self.filled() => {
                twin.update(bytes);
                None
            }
            twin => twin,
        };
        if let Some(twin) = &mut twin {
            twin.fill(bytes);
        }
        let (blocks, rest) = self.fill(bytes).as_chunks();
        let (own_blocks, own_rest) = other.fill(others).as_chunks();
        let (both, alone) = blocks.split_at(blocks.len().min(own_blocks.len()));
        let (own_both, own_alone) = own_blocks.split_at(both.len());
        let mut twin_state = twin.as_mut().map(|twin| &mut twin.state);
        compress(Pass {
            one: &mut self.state,
            twin: twin_state.as_deref_mut(),
            blocks: both,
            beside: Some((&mut other.state, own_both)),
        });
        compress(Pass { one: &mut self.state, twin: twin_state, blocks: alone, beside: None });
        compress256(&mut other.state, own_alone);
        if let Some(twin) = twin {
            twin.keep(blocks.len(), rest);
        }
        self.keep(blocks.len(), rest);
        other.keep(own_blocks.len(), own_rest);
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

/// What is compressed in one pass.
struct Pass<'a> {
    one: &'a mut State,
    /// Takes the same blocks as `one`.
    twin: Option<&'a mut State>,
    blocks: &'a [Block],
    /// Takes blocks of its own, as many.
    beside: Option<(&'a mut State, &'a [Block])>,
}

fn compress(pass: Pass<'_>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("avx") {
        #[expect(unsafe_code, reason = "a function with target features is called once they are detected")]
        // SAFETY: the processor has the features that `sha_ni::compress` enables, as was just asked. The function asks
        // for nothing else.
        unsafe {
            sha_ni::compress(pass);
        }
        return;
    }
    compress_in_turn(pass);
}

/// The pass without the kernel: one state after the other.
fn compress_in_turn(Pass { one, twin, blocks, beside }: Pass<'_>) {
    compress256(one, blocks);
    if let Some(twin) = twin {
        compress256(twin, blocks);
    }
    if let Some((other, own)) = beside {
        compress256(other, own);
    }
}

#[cfg(target_arch = "x86_64")]
mod sha_ni;

#[cfg(test)]
mod tests;
