//! One reader for the three compressions of layers, with a bound on what comes out.
//!
//! The compression is the descriptor's word; it is not guessed from the bytes.

use std::io::{self, Read};

use super::ReadLimits;
use super::gzip::Gzip;
use super::zstandard::Zstd;
use crate::oci::Compression;

/// The uncompressed bytes of a layer; an error when the stream is not exactly one layer's.
pub struct Decompressed<R> {
    form: Form<R>,
    left: u64,
    limit: u64,
}

enum Form<R> {
    Plain(R),
    Gzip(Box<Gzip<R>>),
    Zstd(Box<Zstd<R>>),
}

/// Decompresses `source` strictly: truncation, junk after the end and wrong checksums are errors.
///
/// # Errors
/// Fails when the decompressor cannot be set up. Reading fails with [`GzipError`](super::GzipError) or
/// [`ZstdError`](super::ZstdError) inside an [`io::Error`], and when more than `limits.unpacked` bytes come out.
pub fn decompress<R: Read>(source: R, compression: Compression, limits: &ReadLimits) -> io::Result<Decompressed<R>> {
    let form = match compression {
        Compression::None => Form::Plain(source),
        Compression::Gzip => Form::Gzip(Box::new(Gzip::new(source))),
        Compression::Zstd => Form::Zstd(Box::new(Zstd::new(source, limits.zstd_window_log)?)),
    };
    Ok(Decompressed { form, left: limits.unpacked, limit: limits.unpacked })
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.form {
            Form::Plain(source) => source.read(out),
            Form::Gzip(source) => source.read(out),
            Form::Zstd(source) => source.read(out),
        }?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("the layer unpacks to more than {} bytes", self.limit))
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let limits = ReadLimits { unpacked: 1 << 20, ..ReadLimits::default() };
        for (size, fits) in [(1 << 20, true), ((1 << 20) + 1, false)] {
            let content = vec![0; size];
            let packed = zstd::bulk::compress(&content, 1).unwrap();
            let zstd = io::copy(&mut decompress(&packed[..], Compression::Zstd, &limits).unwrap(), &mut io::sink());
            assert_eq!(zstd.is_ok(), fits, "{size}");
            let plain = io::copy(&mut decompress(&content[..], Compression::None, &limits).unwrap(), &mut io::sink());
            assert_eq!(plain.is_ok(), fits, "{size}");
        }
    }
}
