//! What a written layer holds, told by readers that are not ours.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use super::*;
use crate::layer::{EntryPath, PLACED_MTIME};
use crate::oci::{Algorithm, Digest};

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

/// Gives what the digester of `algorithm` says that passed by.
fn append_deflated(writer: &mut LayerWriter<Vec<u8>>, path: &str, content: &[u8], algorithm: Algorithm) -> Digest {
    let (stream, mut record) = (deflate(content), Digester::new(algorithm));
    let (len, crc) = (stream.len() as u64, crc32fast::hash(content));
    writer.append_deflated(&file(path, content.len()), &mut &stream[..], len, crc, Some(&mut record)).unwrap();
    record.finish()
}

#[test]
fn layer_reads_back_with_contents_and_digests() {
    let mut writer = LayerWriter::new(Vec::new());
    let sizes = [0, 1, 511, 512, 2047, 2048, 5000, RUNNING - 512, RUNNING, RUNNING + 1, (4 << 20) + 1, 9 << 20];
    writer.append(&entry("d", EntryKind::Directory)).unwrap();
    for size in sizes {
        writer.append_bytes(&file(&format!("d/own-{size}"), size), &bytes(size, 1)).unwrap();
        let content = bytes(size, 2);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut expected = Digester::new(algorithm);
            expected.update(&content);
            let path = format!("d/{}-{size}", algorithm.name());
            assert_eq!(append_deflated(&mut writer, &path, &content, algorithm), expected.finish(), "{path}");
        }
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
    assert_eq!(found, 3 * sizes.len());
}

#[test]
fn buffers_of_another_layer_leave_no_trace() {
    let write = |mut writer: LayerWriter<Vec<u8>>, seed| {
        for size in [100, 3000, RUNNING + 1, (4 << 20) + 1] {
            writer.append_bytes(&file(&format!("own-{size}"), size), &bytes(size, seed)).unwrap();
            append_deflated(&mut writer, &format!("wheel-{size}"), &bytes(size, seed), Algorithm::Sha256);
        }
        writer.finish_keeping_buffers().unwrap()
    };
    let (_, _, buffers) = write(LayerWriter::new(Vec::new()), 1);
    let (reused, reused_blob, _) = write(LayerWriter::with_buffers(Vec::new(), buffers), 2);
    let (fresh, fresh_blob, _) = write(LayerWriter::new(Vec::new()), 2);
    assert_eq!(reused, fresh);
    assert!(reused_blob == fresh_blob);
}

#[test]
fn layer_bytes_are_held() {
    let mut writer = LayerWriter::new(Vec::new());
    writer.append(&Entry { mode: 0o755, ..entry("opt", EntryKind::Directory) }).unwrap();
    writer.append_bytes(&file("opt/small", 100), &bytes(100, 1)).unwrap();
    writer.append_bytes(&file("opt/large", 2_000_000), &bytes(2_000_000, 2)).unwrap();
    writer.append(&Entry { uid: 1 << 40, ..entry("opt/é", EntryKind::Symlink { target: b"small".to_vec() }) }).unwrap();
    writer.append(&entry("opt/again", EntryKind::Hardlink { target: EntryPath::parse("opt/small").unwrap() })).unwrap();
    let stored = [&[1, 0xb8, 0x0b, 0x47, 0xf4][..], &[b'x'; 3000]].concat();
    let (len, crc) = (stored.len() as u64, crc32fast::hash(&[b'x'; 3000]));
    for path in ["opt/copied", "opt/copied-too"] {
        writer.append_deflated(&file(path, 3000), &mut &stored[..], len, crc, None).unwrap();
    }
    let (layer, _) = writer.finish().unwrap();
    let diff_id = "7fcf917eb8369e196fca4a0c430f70a0744e44f6fadd107ed90f67aacba1b203";
    let digest = "b7190c2cb2d100e634574c36714fbebd119b1761fa389de3e26f0aadaaa7cc08";
    assert_eq!(
        (layer.diff_id.0.hex(), layer.descriptor.digest.hex()),
        (diff_id, digest),
        "change LAYER_FORMAT with it"
    );
}

/// Says why a stream of `content` is refused after `damage` was done to it.
fn refusal(content: &[u8], size: usize, damage: impl FnOnce(&mut Vec<u8>, &mut u32)) -> InflateError {
    let (mut stream, mut crc) = (deflate(content), crc32fast::hash(content));
    damage(&mut stream, &mut crc);
    let mut writer = LayerWriter::new(Vec::new());
    let (mut seen, len) = (0, stream.len() as u64);
    let mut inflater = Inflater::new();
    let mut inflating = inflater.stream(Expected { size: size as u64, crc32: crc });
    let fed = inflating.feed(&stream, &mut |part| seen += part.len());
    assert!(seen <= size, "more was inflated than the entry has");
    let streamed = fed.and_then(|()| inflating.finish()).unwrap_err();
    let result = writer.append_deflated(&file("f", size), &mut &stream[..], len, crc, None);
    assert!(matches!(writer.append(&file("g", 0)), Err(LayerError::Abandoned)));
    assert!(matches!(writer.finish(), Err(LayerError::Abandoned)));
    match result {
        Err(LayerError::Inflate { path, source }) if path.as_bytes() == b"f" => {
            assert_eq!(source, streamed, "both inflaters agree");
            source
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn streams_that_are_not_what_they_claim_are_refused() {
    for len in [1, 100, 2047, 2048, 100_000, (4 << 20) + 1, 6 << 20] {
        let content = bytes(len, 3);
        let (expected, crc) = (len as u64, crc32fast::hash(&content));
        assert_eq!(refusal(&content, len, |stream, _| _ = stream.pop()), InflateError::Truncated);
        assert_eq!(refusal(&content, len, |stream, _| stream.clear()), InflateError::Truncated);
        assert_eq!(refusal(&content, len, |stream, _| stream[0] = 7), InflateError::Corrupt);
        assert_eq!(refusal(&content, len, |stream, _| stream.push(0)), InflateError::Trailing);
        let forged = footer(crc, expected);
        assert_eq!(refusal(&content, len, |stream, _| stream.extend(forged)), InflateError::Trailing, "{len}");
        let again = |stream: &mut Vec<u8>, _: &mut u32| stream.extend_from_within(..);
        assert_eq!(refusal(&content, len, again), InflateError::Trailing);
        let found = crc;
        assert_eq!(refusal(&content, len, |_, crc| *crc ^= 1), InflateError::Crc { expected: found ^ 1, found });
        let short = InflateError::Short { expected: expected + 1, found: expected };
        assert_eq!(refusal(&content, len + 1, |_, _| {}), short);
        assert_eq!(refusal(&content, len - 1, |_, _| {}), InflateError::Long { expected: expected - 1 });
    }
}

#[test]
fn bomb_is_refused_before_it_goes_off() {
    let bomb = vec![0; 200 << 20];
    for size in [0, 10, 5000, 5 << 20] {
        assert_eq!(refusal(&bomb, size, |_, _| {}), InflateError::Long { expected: size as u64 });
    }
}

#[test]
fn stream_of_many_empty_blocks_is_copied_in_pieces() {
    let blocks = [[0, 0, 0, 0xff, 0xff].repeat(1 << 20), vec![1, 0, 0, 0xff, 0xff]].concat();
    let mut writer = LayerWriter::new(Vec::new());
    writer.append_deflated(&file("f", 0), &mut &blocks[..], blocks.len() as u64, 0, None).unwrap();
    assert!(writer.member.capacity() <= 2 * CHUNK as usize, "{}", writer.member.capacity());
    assert!(writer.finish().unwrap().0.descriptor.size > 5 << 20);
}

#[test]
fn stream_that_its_reader_cuts_off_is_truncated() {
    for len in [1000_u64, 10_000, 10 << 20] {
        let mut writer = LayerWriter::new(Vec::new());
        let stream = deflate(&bytes(len as usize, 1));
        let told = stream.len() as u64 + 1;
        let result = writer.append_deflated(&file("f", len as usize), &mut &stream[..], told, 0, None);
        assert!(matches!(
            result,
            Err(LayerError::Inflate { source: InflateError::Truncated | InflateError::Crc { .. }, .. })
        ));
    }
}

#[test]
fn bytes_behind_the_stream_are_left_to_the_reader() {
    let content = bytes(10_000, 1);
    let stream = [deflate(&content), b"rest".to_vec()].concat();
    let mut rest = &stream[..];
    let mut writer = LayerWriter::new(Vec::new());
    let len = stream.len() as u64 - 4;
    writer.append_deflated(&file("f", 10_000), &mut rest, len, crc32fast::hash(&content), None).unwrap();
    assert_eq!(rest, b"rest");
}

#[test]
fn content_that_changes_its_length_is_named() {
    for (size, given, expected) in [
        (5, 4, Found::Fewer(4)),
        (5, 0, Found::Fewer(0)),
        (0, 1, Found::More),
        (5, 6, Found::More),
        (RUNNING, RUNNING - 1, Found::Fewer(RUNNING as u64 - 1)),
        (RUNNING, RUNNING + 1, Found::More),
    ] {
        let mut writer = LayerWriter::new(Vec::new());
        match writer.append_bytes(&file("p", size), &bytes(given, 1)) {
            Err(LayerError::ContentChanged { path, found, .. }) => {
                assert_eq!((path.as_bytes(), found), (&b"p"[..], expected));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(writer.finish(), Err(LayerError::Abandoned)));
    }
}

#[test]
fn content_against_the_kind_and_impossible_links_are_refused() {
    let directory = entry("d", EntryKind::Directory);
    let mut writers = std::iter::repeat_with(|| LayerWriter::new(Vec::new()));
    let mut writer = || writers.next().unwrap();
    assert!(matches!(writer().append(&file("f", 1)), Err(LayerError::Kind { .. })));
    assert!(matches!(writer().append_bytes(&directory, b""), Err(LayerError::Kind { .. })));
    let deflated = writer().append_deflated(&directory, &mut &b"\x03\0"[..], 2, 0, None);
    assert!(matches!(deflated, Err(LayerError::Kind { .. })));
    for target in [&b""[..], b"a\0b"] {
        let link = entry("l", EntryKind::Symlink { target: target.to_vec() });
        assert!(matches!(writer().append(&link), Err(LayerError::LinkTarget { .. })));
    }
}

/// A sink that takes so many bytes and no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A layer with every way in: own content, a small, a whole and a streamed deflated file.
fn write_some<W: Write>(sink: W) -> Result<(FinishedLayer, W), LayerError> {
    let mut writer = LayerWriter::new(sink);
    writer.append_bytes(&file("own", 300_000), &bytes(300_000, 1))?;
    for size in [100, 200_000, 5 << 20] {
        let content = bytes(size, 2);
        let (stream, crc) = (deflate(&content), crc32fast::hash(&content));
        writer.append_deflated(&file("f", size), &mut &stream[..], stream.len() as u64, crc, None)?;
    }
    writer.finish()
}

#[test]
fn sink_that_fails_at_any_byte_fails_the_layer() {
    let size = write_some(Full(usize::MAX)).unwrap().0.descriptor.size as usize;
    assert!(write_some(Full(size)).is_ok());
    for room in [0, 1, 10, size / 7, size / 3, size / 2, size - 9, size - 1] {
        match write_some(Full(room)) {
            Err(LayerError::Write(source)) => assert_eq!(source.kind(), io::ErrorKind::StorageFull, "{room}"),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{room} bytes of {size} were enough"),
        }
    }
}

/// Bytes that come in pieces of the given lengths, over and over, with interruptions between.
struct Pieces<'a> {
    bytes: &'a [u8],
    lengths: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match *self.lengths.next().unwrap() {
            0 => Err(io::ErrorKind::Interrupted.into()),
            length => {
                let room = to.len().min(length);
                self.bytes.read(&mut to[..room])
            }
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_content() {
    let mut writer = LayerWriter::new(io::sink());
    for size in [1, 64 << 20] {
        writer.append_reader(&file("zeros", size), &mut io::repeat(0).take(size as u64)).unwrap();
    }
    let stream = deflate(&vec![0; 64 << 20]);
    let crc = crc32fast::hash(&vec![0; 64 << 20]);
    writer.append_deflated(&file("f", 64 << 20), &mut &stream[..], stream.len() as u64, crc, None).unwrap();
    assert!(writer.member.capacity() <= 2 * CHUNK as usize);
}

/// Anything but newlines: the reader cuts PAX records at them. Names with newlines are read by others in `tests/it`.
fn any_entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let component = proptest::collection::vec(1_u8.., 1..60).prop_map(|mut name| {
        name.iter_mut().filter(|b| matches!(**b, b'/' | b'\n')).for_each(|b| *b = b' ');
        if name == b"." || name == b".." { b"dots".to_vec() } else { name }
    });
    let path =
        proptest::collection::vec(component, 1..5).prop_map(|parts| EntryPath::parse(parts.join(&b'/')).unwrap());
    let kind = prop_oneof![
        Just(EntryKind::Directory),
        proptest::collection::vec(11_u8.., 1..200).prop_map(|target| EntryKind::Symlink { target }),
        path.clone().prop_map(|target| EntryKind::Hardlink { target }),
        (0_u64..6000).prop_map(|size| EntryKind::File { size }),
    ];
    // The reader reads neither negative times nor uids above 2^63.
    let numbers = (0_u32..0o10000, 0_u64..1 << 62, 0_u64..1 << 22, 0_i64..1 << 33);
    (path, kind, numbers, any::<u64>()).prop_map(|(path, kind, (mode, uid, gid, mtime), seed)| {
        let content = if let EntryKind::File { size } = kind { bytes(size as usize, seed) } else { Vec::new() };
        (Entry { path, kind, mode, uid, gid, mtime }, content)
    })
}

fn read_back(item: &mut ::tar::Entry<'_, &[u8]>) -> (Entry, Vec<u8>) {
    let mut content = Vec::new();
    item.read_to_end(&mut content).unwrap();
    let path = item.path_bytes().strip_suffix(b"/").map_or(item.path_bytes().to_vec(), <[u8]>::to_vec);
    let link = item.link_name_bytes().map(|name| name.to_vec()).unwrap_or_default();
    let kind = match item.header().entry_type() {
        ::tar::EntryType::Directory => EntryKind::Directory,
        ::tar::EntryType::Symlink => EntryKind::Symlink { target: link },
        ::tar::EntryType::Link => EntryKind::Hardlink { target: EntryPath::parse(link).unwrap() },
        ::tar::EntryType::Regular => EntryKind::File { size: item.size() },
        other => panic!("{other:?}"),
    };
    let mut mtime = item.header().mtime().unwrap() as i64;
    for record in item.pax_extensions().unwrap().into_iter().flatten().map(Result::unwrap) {
        if record.key() == Ok("mtime") {
            mtime = record.value().unwrap().parse().unwrap();
        }
    }
    let header = item.header();
    let (mode, uid, gid) = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
    (Entry { path: EntryPath::parse(path).unwrap(), kind, mode, uid, gid, mtime }, content)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_entries_are_read_back_as_they_were(entries in proptest::collection::vec(any_entry(), 0..12)) {
        let mut writer = LayerWriter::new(Vec::new());
        for (index, (entry, content)) in entries.iter().enumerate() {
            match entry.kind {
                EntryKind::File { .. } if index % 2 == 0 => writer.append_bytes(entry, content).unwrap(),
                EntryKind::File { .. } => {
                    let (stream, crc) = (deflate(content), crc32fast::hash(content));
                    writer.append_deflated(entry, &mut &stream[..], stream.len() as u64, crc, None).unwrap();
                }
                _ => writer.append(entry).unwrap(),
            }
        }
        let (_, blob) = writer.finish().unwrap();
        let mut tar = Vec::new();
        MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
        let mut archive = ::tar::Archive::new(&tar[..]);
        let found: Vec<_> = archive.entries().unwrap().map(|item| read_back(&mut item.unwrap())).collect();
        prop_assert_eq!(found, entries);
    }

    #[test]
    fn digest_does_not_depend_on_how_content_is_cut(
        size in 0_usize..3 * RUNNING,
        lengths in proptest::collection::vec(prop_oneof![0..3_usize, 1..200_000_usize], 1..8),
    ) {
        let lengths = [lengths, vec![1000]].concat();
        let content = bytes(size, 5);
        let mut whole = LayerWriter::new(Vec::new());
        whole.append_bytes(&file("f", size), &content).unwrap();
        let mut cut = LayerWriter::new(Vec::new());
        let mut pieces = Pieces { bytes: &content, lengths: lengths.iter().cycle() };
        cut.append_reader(&file("f", size), &mut pieces).unwrap();
        prop_assert_eq!(whole.finish().unwrap(), cut.finish().unwrap());
    }
}
