//! Bounds on what a layer may make its reader do.
//!
//! They stop bombs; they are far above what images hold.

/// How much one layer may hold before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Uncompressed bytes.
    pub unpacked: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// The base-2 logarithm of the largest Zstandard window; the window is the reader's memory.
    pub zstd_window_log: u32,
}

impl Default for ReadLimits {
    /// 100 GiB, four million entries, windows of 128 MiB (what `zstd` itself reads without being asked).
    fn default() -> Self {
        Self { unpacked: 100 << 30, entries: 4_000_000, zstd_window_log: 27 }
    }
}
