//! Makes small wheels and zip archives for tests, the same bytes each time.
//!
//! It writes what it is told, also what no wheel may hold; it checks nothing.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// One member of an archive to be made.
#[derive(Clone, Debug)]
pub(crate) struct MadeMember {
    /// The name; a folder's ends in a slash.
    pub(crate) name: String,
    /// The content.
    pub(crate) content: Vec<u8>,
    /// The Unix mode with its file type.
    pub(crate) mode: u32,
    /// Whether the content is deflated.
    pub(crate) deflated: bool,
    /// Whether RECORD has a row of it.
    pub(crate) recorded: bool,
}

/// A wheel to be made.
#[derive(Clone, Debug)]
pub(crate) struct WheelMaker {
    name: String,
    version: String,
    purelib: bool,
    members: Vec<MadeMember>,
    extra_rows: Vec<String>,
}

impl WheelMaker {
    /// A pure wheel with metadata alone.
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            purelib: true,
            members: Vec::new(),
            extra_rows: Vec::new(),
        }
    }

    /// Makes the root go to the folder for native modules.
    pub(crate) fn platlib(mut self) -> Self {
        self.purelib = false;
        self
    }

    /// Adds a file of mode 0644.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.member(name, content, 0o100_644)
    }

    /// Adds a file with executable bits.
    pub(crate) fn executable(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.member(name, content, 0o100_755)
    }

    /// Adds a folder.
    pub(crate) fn folder(mut self, name: &str) -> Self {
        let name = format!("{name}/");
        self.members.push(MadeMember { name, content: Vec::new(), mode: 0o040_755, deflated: false, recorded: false });
        self
    }

    /// Adds a member of any mode.
    pub(crate) fn member(mut self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        let (name, content) = (name.to_owned(), content.as_ref().to_vec());
        self.members.push(MadeMember { name, content, mode, deflated: true, recorded: true });
        self
    }

    /// Stores the last member instead of deflating it.
    pub(crate) fn stored(mut self) -> Self {
        self.members.last_mut().expect("a member was added").deflated = false;
        self
    }

    /// Leaves the last member out of RECORD.
    pub(crate) fn unrecorded(mut self) -> Self {
        self.members.last_mut().expect("a member was added").recorded = false;
        self
    }

    /// Adds `entry_points.txt`.
    pub(crate) fn entry_points(self, text: &str) -> Self {
        let name = format!("{}/entry_points.txt", self.dist_info());
        self.file(&name, text)
    }

    /// Adds a line to RECORD.
    pub(crate) fn record_row(mut self, row: &str) -> Self {
        self.extra_rows.push(row.to_owned());
        self
    }

    /// Replaces the METADATA, which is the member `name`.
    pub(crate) fn with_metadata(self, name: &str, text: &str) -> Self {
        self.file(name, text)
    }

    /// The file name.
    pub(crate) fn filename(&self) -> String {
        format!("{}-{}-py3-none-any.whl", self.name, self.version)
    }

    /// The name of the folder with the metadata.
    pub(crate) fn dist_info(&self) -> String {
        format!("{}-{}.dist-info", self.name, self.version)
    }

    /// The wheel's bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        let dist_info = self.dist_info();
        let metadata = format!("Metadata-Version: 2.1\nName: {}\nVersion: {}\n", self.name, self.version);
        let wheel = format!("Wheel-Version: 1.0\nRoot-Is-Purelib: {}\nTag: py3-none-any\n", self.purelib);
        for (name, content) in [("METADATA", metadata), ("WHEEL", wheel)] {
            let name = format!("{dist_info}/{name}");
            if !members.iter().any(|member| member.name == name) {
                members.push(plain(name, content.into_bytes()));
            }
        }
        let mut record = String::new();
        for member in members.iter().filter(|member| member.recorded) {
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&member.content));
            let name = if member.name.contains([',', '"']) {
                format!("\"{}\"", member.name.replace('"', "\"\""))
            } else {
                member.name.clone()
            };
            record.push_str(&format!("{name},sha256={hash},{}\n", member.content.len()));
        }
        for row in &self.extra_rows {
            record.push_str(row);
            record.push('\n');
        }
        record.push_str(&format!("{dist_info}/RECORD,,\n"));
        members.push(plain(format!("{dist_info}/RECORD"), record.into_bytes()));
        zip(&members)
    }
}

fn plain(name: String, content: Vec<u8>) -> MadeMember {
    MadeMember { name, content, mode: 0o100_644, deflated: true, recorded: true }
}

/// A zip archive of `members`, as Python's `zipfile` lays it out.
pub(crate) fn zip(members: &[MadeMember]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let data = if member.deflated { deflate(&member.content) } else { member.content.clone() };
        let flags: u16 = if member.name.is_ascii() { 0 } else { 1 << 11 };
        let mut shared = Vec::new();
        shared.extend(20_u16.to_le_bytes());
        shared.extend(flags.to_le_bytes());
        shared.extend((if member.deflated { 8_u16 } else { 0 }).to_le_bytes());
        shared.extend([0, 0, 0x21, 0]);
        shared.extend(crc32fast::hash(&member.content).to_le_bytes());
        shared.extend((data.len() as u32).to_le_bytes());
        shared.extend((member.content.len() as u32).to_le_bytes());
        shared.extend((member.name.len() as u16).to_le_bytes());
        shared.extend([0, 0]);
        let offset = archive.len() as u32;
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&shared);
        directory.extend([0; 6]);
        directory.extend((member.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(member.name.as_bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(&shared);
        archive.extend(member.name.as_bytes());
        archive.extend(&data);
    }
    let offset = archive.len() as u32;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend((members.len() as u16).to_le_bytes());
    archive.extend((members.len() as u16).to_le_bytes());
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(offset.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

/// `content` as a raw deflate stream.
pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
