//! Which files of an image an index keeps, and in what form.
//!
//! Kept is what planning reads and no more: what people write about their packages stays out, and so
//! do the hashes of RECORD, which do not compress and would make most of an index.

/// What to keep of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// The content as it is.
    Whole,
    /// The header lines of a metadata file, up to the first empty line.
    Header,
    /// A RECORD with its first column alone.
    Paths,
    /// The content as it is, of a file that is small.
    Small,
}

/// What tools that add accounts read and write, beside `etc/passwd` and `etc/group`.
///
/// Of these `shadow` and `gshadow` are kept from other users of a container. An index tells nobody more than the layers do:
/// it is published in the repository that has the layers, which hold the same files, and nowhere else.
const ACCOUNTS: [&[u8]; 7] = [
    b"etc/shadow",
    b"etc/gshadow",
    b"etc/subuid",
    b"etc/subgid",
    b"etc/login.defs",
    b"etc/adduser.conf",
    b"etc/default/useradd",
];
/// The files of which a new home folder is made.
const SKELETON: &[u8] = b"etc/skel/";
/// The largest file that counts as small.
const MAX_SMALL: u64 = 128 << 10;

/// The largest file that is kept; a larger one counts as not there.
pub(super) const MAX_CAPTURED: u64 = 16 << 20;

impl Capture {
    /// What to keep of the file at `path`.
    pub(super) fn of(path: &[u8]) -> Option<Self> {
        let system: [&[u8]; 4] = [b"etc/passwd", b"etc/group", b"etc/os-release", b"usr/lib/os-release"];
        if system.contains(&path) {
            return Some(Self::Whole);
        }
        if ACCOUNTS.contains(&path) || path.starts_with(SKELETON) {
            return Some(Self::Small);
        }
        let mut parts = path.rsplit(|byte| *byte == b'/');
        let name = parts.next()?;
        let folder = parts.next().unwrap_or_default();
        if name == b"pyvenv.cfg" {
            return Some(Self::Whole);
        }
        // Templates of the scripts that activate an environment.
        if matches!(folder, b"common" | b"posix") && parts.next() == Some(b"scripts") && parts.next() == Some(b"venv") {
            return name.to_ascii_lowercase().starts_with(b"activate").then_some(Self::Whole);
        }
        if name.ends_with(b".egg-info") {
            return Some(Self::Header);
        }
        if folder.ends_with(b".egg-info") {
            return (name == b"PKG-INFO").then_some(Self::Header);
        }
        if !folder.ends_with(b".dist-info") {
            return None;
        }
        match name {
            b"METADATA" => Some(Self::Header),
            b"RECORD" => Some(Self::Paths),
            b"INSTALLER" | b"REQUESTED" | b"direct_url.json" => Some(Self::Whole),
            _ => None,
        }
    }

    /// Whether a file of this size in bytes is kept.
    pub(super) fn fits(self, size: u64) -> bool {
        size <= if self == Self::Small { MAX_SMALL } else { MAX_CAPTURED }
    }

    /// The form that is kept of `content`.
    pub(super) fn reduce(self, content: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Whole | Self::Small => content,
            Self::Header => header_lines(content),
            Self::Paths => record_paths(&content).unwrap_or(content),
        }
    }
}

fn header_lines(mut content: Vec<u8>) -> Vec<u8> {
    let mut end = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii().is_empty() {
            break;
        }
        end += line.len();
    }
    content.truncate(end);
    content
}

/// The RECORD with empty hash and size columns; `None` when it is no CSV.
fn record_paths(content: &[u8]) -> Option<Vec<u8>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(content);
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::Any(b'\n'))
        .from_writer(Vec::with_capacity(content.len()));
    for row in reader.byte_records() {
        let row = row.ok()?;
        writer.write_record([row.get(0)?, b"", b""]).ok()?;
    }
    writer.into_inner().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_planning_reads_is_kept() {
        for (path, expected) in [
            ("etc/passwd", Some(Capture::Whole)),
            ("etc/shadow", Some(Capture::Small)),
            ("etc/skel/.config/x", Some(Capture::Small)),
            ("etc/skel", None),
            ("usr/etc/passwd", None),
            ("opt/venv/pyvenv.cfg", Some(Capture::Whole)),
            ("usr/lib/python3.11/venv/scripts/common/Activate.ps1", Some(Capture::Whole)),
            ("usr/lib/python3.11/venv/scripts/posix/activate.csh", Some(Capture::Whole)),
            ("usr/lib/python3.11/venv/scripts/nt/activate.bat", None),
            ("opt/venv/bin/activate", None),
            ("l/numpy-2.0.dist-info/METADATA", Some(Capture::Header)),
            ("l/numpy-2.0.dist-info/RECORD", Some(Capture::Paths)),
            ("l/numpy-2.0.dist-info/LICENSE", None),
            ("l/numpy-2.0.dist-info/x/METADATA", None),
            ("METADATA", None),
            ("l/six-1.egg-info", Some(Capture::Header)),
            ("l/six-1.egg-info/PKG-INFO", Some(Capture::Header)),
            ("l/six-1.egg-info/SOURCES.txt", None),
        ] {
            assert_eq!(Capture::of(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn metadata_ends_at_its_header_and_record_loses_its_hashes() {
        let metadata = b"Name: a\r\nRequires-Dist: b\r\n\r\nlong text".to_vec();
        assert_eq!(Capture::Header.reduce(metadata), b"Name: a\r\nRequires-Dist: b\r\n");
        let record = b"a.py,sha256=xyz,12\r\n\"b,c.py\",sha256=abc,1\na.dist-info/RECORD,,\n".to_vec();
        assert_eq!(Capture::Paths.reduce(record), b"a.py,,\n\"b,c.py\",,\na.dist-info/RECORD,,\n");
    }
}
