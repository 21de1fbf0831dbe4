//! What a written layer holds, told by readers that are not ours.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use super::*;
use crate::layer::{EntryPath, PLACED_MTIME};

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: EntryPath::parse(path).unwrap(), kind, mode: 0o644, uid: 0, gid: 0, mtime: PLACED_MTIME }
}

fn file(path: &str, size: usize) -> Entry {
    entry(path, EntryKind::File { size: size as u64 })
}

/// Bytes that compress somewhat, the same at each run.
fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len).map(|_| b"etaoin shrdlu\n"[(next() % 14) as usize]).collect()
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn append_deflated(writer: &mut LayerWriter<Vec<u8>>, path: &str, content: &[u8]) -> Vec<u8> {
    let (stream, mut seen) = (deflate(content), Vec::new());
    let crc = crc32fast::hash(content);
    let mut inspect = |part: &[u8]| seen.extend_from_slice(part);
    writer
        .append_deflated(&file(path, content.len()), &mut &stream[..], stream.len() as u64, crc, &mut inspect)
        .unwrap();
    seen
}

#[test]
fn layer_reads_back_with_contents_and_digests() {
    let mut writer = LayerWriter::new(Vec::new());
    let sizes = [0, 1, 511, 512, 2047, 2048, 5000, RUNNING - 512, RUNNING, RUNNING + 1, (4 << 20) + 1, 9 << 20];
    writer.append(&entry("d", EntryKind::Directory)).unwrap();
    for size in sizes {
        writer.append_bytes(&file(&format!("d/own-{size}"), size), &bytes(size, 1)).unwrap();
        let content = bytes(size, 2);
        assert_eq!(append_deflated(&mut writer, &format!("d/wheel-{size}"), &content), content);
    }
    let (layer, blob) = writer.finish().unwrap();
    let mut tar = Vec::new();
    MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
    assert_eq!(layer.descriptor, Descriptor::of(OCI_LAYER_GZIP, &blob));
    assert_eq!(layer.diff_id.0, crate::oci::Digest::of(&tar));
    assert_eq!(layer.unpacked, tar.len() as u64);
    let mut archive = ::tar::Archive::new(&tar[..]);
    let mut found = 0;
    for item in archive.entries().unwrap() {
        let mut item = item.unwrap();
        let path = String::from_utf8(item.path_bytes().to_vec()).unwrap();
        if let Some((kind, size)) = path.trim_start_matches("d/").split_once('-') {
            let mut content = Vec::new();
            item.read_to_end(&mut content).unwrap();
            assert!(content == bytes(size.parse().unwrap(), if kind == "own" { 1 } else { 2 }), "{path}");
            found += 1;
        }
    }
    assert_eq!(found, 2 * sizes.len());
}
