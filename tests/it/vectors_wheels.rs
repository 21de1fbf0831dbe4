//! Wheels against the tables of public projects: file names, names, RECORD rows, hostile archives.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lapstrake::python::filename::{SdistFilename, WheelFilename};
use lapstrake::python::normalize_name;
use lapstrake::python::record::RecordRow;
use lapstrake::python::zip::{Archive, Limits, ZipError};
use serde_json::Value;

/// The cases of a vector file; `None`, with a line that says so, when there are no vectors.
#[expect(clippy::disallowed_methods, reason = "the folder of the vectors is a matter of the machine that tests")]
fn cases(name: &str) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os("LAPSTRAKE_VECTORS") else {
        println!("skipped: LAPSTRAKE_VECTORS is not set");
        return None;
    };
    let text = std::fs::read(PathBuf::from(folder).join(name)).unwrap();
    let mut file: Value = serde_json::from_slice(&text).unwrap();
    let cases = file["cases"].take().as_array().unwrap().clone();
    println!("{name}: {} cases", cases.len());
    Some(cases)
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

#[test]
fn wheel_file_names_are_read_as_packaging_reads_them() {
    for case in cases("wheel_filename.json").unwrap_or_default() {
        let filename = text(&case, "filename");
        let parsed = WheelFilename::parse(filename);
        let expected = case["ok"] == true && case["uv_ok"] != false;
        assert_eq!(parsed.is_ok(), expected, "{case}: {parsed:?}");
        let Ok(parsed) = parsed else { continue };
        assert_eq!(parsed.name, text(&case, "name"), "{filename}");
        assert_eq!(parsed.version.to_string(), text(&case, "version"), "{filename}");
        let build = parsed.build.map_or(serde_json::json!([]), |(number, rest)| serde_json::json!([number, rest]));
        assert_eq!(build, case["build"], "{filename}");
        let tags: Vec<String> = parsed.tags.iter().map(ToString::to_string).collect();
        assert_eq!(serde_json::json!(tags), case["tags"], "{filename}");
    }
}

#[test]
fn names_and_sdist_file_names_are_read_as_packaging_reads_them() {
    for case in cases("sdist_and_names.json").unwrap_or_default() {
        if text(&case, "kind") == "canonicalize_name" {
            assert_eq!(normalize_name(text(&case, "name")), text(&case, "expect"));
            continue;
        }
        let parsed = SdistFilename::parse(text(&case, "filename"));
        assert_eq!(parsed.is_ok(), case["ok"] == true, "{case}");
        if let Ok(parsed) = parsed {
            assert_eq!(
                (parsed.name.as_str(), &*parsed.version.to_string()),
                (text(&case, "name"), text(&case, "version"))
            );
        }
    }
}

#[test]
fn record_rows_are_judged_as_installer_judges_them() {
    for case in cases("wheel_record.json").unwrap_or_default() {
        let row = RecordRow::parse(text(&case, "path"), text(&case, "hash"), text(&case, "size"));
        let ok = match text(&case, "kind") {
            "validate" => row.and_then(|row| row.check(text(&case, "data").as_bytes())).is_ok(),
            _ => row.and_then(|row| row.digest()).is_ok(),
        };
        assert_eq!(ok, case["ok"] == true, "{case}");
    }
}

/// Opens an archive and reads every member.
fn unpack(bytes: Vec<u8>) -> Result<usize, ZipError> {
    let archive = Archive::open(bytes, &Limits::default())?;
    for member in archive.members().iter().filter(|member| !member.folder) {
        archive.read(member, 1 << 20)?;
    }
    Ok(archive.members().len())
}

#[test]
fn hostile_archives_are_refused_and_sound_ones_unpacked() {
    let mut counts = [0; 3];
    for case in cases("zip_differential.json").unwrap_or_default() {
        let result = unpack(STANDARD.decode(text(&case, "b64")).unwrap());
        let name = format!("{} {}: {result:?}", text(&case, "corpus"), text(&case, "name"));
        // The upload gate refuses every data descriptor; an installer may take those that are well formed.
        let descriptor =
            matches!(text(&case, "name"), "reject/data_descriptor.zip" | "reject/data_descriptor_zip64.zip");
        match text(&case, "verdict") {
            "accept" if case["conflict"].is_null() => {
                assert!(result.is_ok(), "{name}");
                counts[0] += 1;
            }
            "malicious" | "reject" if !descriptor => {
                assert!(result.is_err(), "{name}");
                counts[1] += 1;
            }
            _ => counts[2] += 1,
        }
    }
    println!("accepted {}, refused {}, either {}", counts[0], counts[1], counts[2]);
}
