//! Parent layers that others made, some of them hostile: read as Go reads them, or refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what these helpers of tests meet is a failure of the test")]

use std::io::{self, Read};
use std::path::Path;

use base64::Engine as _;
use lapstrake::image::filesystem::LayerIndex;
use lapstrake::layer::read::{ReadLimits, TarKind, TarReader, decompress};
use lapstrake::oci::{Compression, Digest};
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "the vectors' folder is a fact of the machine that runs the tests")]
fn vectors(file: &str) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os("LAPSTRAKE_VECTORS") else {
        print_line("skipped: LAPSTRAKE_VECTORS is not set");
        return None;
    };
    let text = std::fs::read(Path::new(&folder).join(file)).unwrap();
    let mut all: Value = serde_json::from_slice(&text).unwrap();
    let Value::Array(cases) = all["cases"].take() else { panic!("`{file}` has no cases") };
    assert!(!cases.is_empty());
    Some(cases)
}

#[expect(clippy::print_stdout, reason = "a test says what it ran or skipped")]
fn print_line(line: &str) {
    println!("{line}");
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

fn bytes(case: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text(case, "b64")).unwrap()
}

fn digest_of(content: &[u8]) -> String {
    Digest::of(content).hex().to_owned()
}

/// A gzip member around raw deflate data, with the trailer of what a lenient inflater gets out of it.
fn member(deflated: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut content = Vec::new();
    // An error leaves what came out before it, which is what the trailer shall describe.
    let _ = flate2::read::DeflateDecoder::new(deflated).read_to_end(&mut content);
    let mut crc = flate2::Crc::new();
    crc.update(&content);
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let trailer = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
    ([&header[..], deflated, &trailer].concat(), content)
}

/// All frames of a zstd stream, by the one-call interface of the library.
fn decode_whole(packed: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::decompress(packed, 1 << 20).ok()
}

fn unpack(packed: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    decompress(packed, compression, &ReadLimits::default())?.read_to_end(&mut content)?;
    Ok(content)
}

#[test]
fn compressed_streams_decode_whole_or_are_refused() {
    let Some(cases) = vectors("codec_malo.json") else { return };
    let mut wrong = Vec::new();
    for case in &cases {
        let name = text(case, "name");
        let (packed, compression, oracle) = match text(case, "codec") {
            "deflate" => {
                let (packed, content) = member(&bytes(case));
                (packed, Compression::Gzip, Some(content))
            }
            "zstd" => (bytes(case), Compression::Zstd, decode_whole(&bytes(case))),
            codec => panic!("unknown codec `{codec}`"),
        };
        let result = unpack(&packed, compression);
        let is_right = match text(case, "verdict") {
            "accept" => result.is_ok() && result.as_ref().ok() == oracle.as_ref(),
            // A window or frame beyond the reader's memory.
            _ if name.contains("1gb") => result.is_err(),
            "iffy" => true,
            _ => result.is_err(),
        };
        if !is_right {
            wrong.push(format!("{name}: {:?}", result.map(|content| content.len())));
        }
    }
    print_line(&format!("{} compressed streams", cases.len()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[derive(Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    kind: String,
    size: u64,
    content: String,
}

fn list(tar: &[u8]) -> Result<Vec<Listed>, String> {
    let mut reader = TarReader::new(tar, &ReadLimits::default());
    let mut listed = Vec::new();
    while let Some(entry) = reader.next_entry().map_err(|error| error.to_string())? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(|error| error.to_string())?;
        let kind = match entry.kind {
            TarKind::File => "0",
            TarKind::Hardlink { .. } => "1",
            TarKind::Symlink { .. } => "2",
            TarKind::CharDevice => "3",
            TarKind::BlockDevice => "4",
            TarKind::Directory => "5",
            TarKind::Fifo => "6",
        };
        listed.push(Listed {
            name: String::from_utf8_lossy(&entry.path).into_owned(),
            kind: kind.into(),
            size: entry.size,
            content: digest_of(&content),
        });
    }
    Ok(listed)
}

fn go_entries(case: &Value) -> Vec<Listed> {
    let entries = case["go_entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let entries = entries.iter().filter(|entry| text(entry, "type") != "g");
    entries
        .map(|entry| Listed {
            name: text(entry, "name").into(),
            kind: text(entry, "type").into(),
            size: entry["size"].as_u64().unwrap_or_default(),
            content: text(entry, "sha256").into(),
        })
        .collect()
}

#[test]
fn tars_are_listed_as_go_lists_them_or_refused() {
    let Some(cases) = vectors("tar_hostile.json") else { return };
    let mut wrong = Vec::new();
    let mut listed = 0;
    for case in &cases {
        let name = text(case, "name");
        let result = list(&bytes(case));
        let must_refuse = case["go_error"].is_string()
            || text(case, "note").contains("must be refused")
            || name.contains("_with_data")
            || name.contains("_with_embedded_");
        let must_read = text(case, "verdict") == "accept";
        match result {
            Ok(_) if must_refuse => wrong.push(format!("{name}: read")),
            Ok(ours) if ours != go_entries(case) => {
                wrong.push(format!("{name}: {ours:#?} instead of {:#?}", go_entries(case)));
            }
            Err(error) if must_read => wrong.push(format!("{name}: {error}")),
            Ok(_) => listed += 1,
            Err(error) => print_line(&format!("refused {name}: {error}")),
        }
    }
    print_line(&format!("{} tars, {listed} of them listed", cases.len()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(listed > cases.len() / 3, "only {listed} tars were read at all");
}

#[test]
fn layers_that_runtimes_refuse_have_no_index() {
    let Some(cases) = vectors("tar_hostile.json") else { return };
    let mut wrong = Vec::new();
    let mut ran = 0;
    for case in &cases {
        let tar = bytes(case);
        let index = LayerIndex::read(&tar[..], Compression::None, &ReadLimits::default());
        let leaves_root = go_entries(case).iter().any(|entry| entry.name.split('/').any(|part| part == ".."));
        if (case["apply_error"].is_string() || leaves_root) && index.is_ok() {
            wrong.push(text(case, "name").to_owned());
        }
        if let Ok((index, blob, diff_id)) = index {
            assert_eq!((blob.hex(), &blob), (&digest_of(&tar)[..], &diff_id.0));
            let again = LayerIndex::from_bytes(&index.to_bytes().unwrap()).unwrap();
            assert_eq!(again, index);
        }
        ran += 1;
    }
    print_line(&format!("{ran} layers"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
