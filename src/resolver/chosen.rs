//! What an earlier build chose, kept so that an added line is resolved on top of it.
//!
//! Only lines that were added are answered here: any other change has everything chosen anew (docs/adr/0011).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cache::{circumstances_key, clean_lines, is_option};
use super::error::ResolveError;
use super::request::{ParentDistribution, RequirementText, ResolveRequest};
use super::requirement;
use super::resolved::Resolved;
use crate::oci::Digest;
use crate::python::lock::{Lock, LockedWheel};

/// Changes when an older record must not be read.
const FORMAT: u32 = 1;
/// What uv reads of a distribution that is installed (core metadata specification).
const HEADERS: [&str; 6] =
    ["metadata-version", "name", "version", "requires-python", "requires-dist", "provides-extra"];

/// A lock, the question that it answers, and what its packages require.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    circumstances: Digest,
    lines: Vec<String>,
    lock: Lock,
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    circumstances: Digest,
    requirements: Vec<String>,
    lock: String,
    metadata: BTreeMap<String, String>,
}

impl Chosen {
    /// `lock` as the answer to `request`; `None` when that depends on folders of this machine.
    pub fn of(request: &ResolveRequest, lock: Lock) -> Option<Self> {
        let circumstances = circumstances_key(request)?;
        Some(Self { circumstances, lines: requirement_lines(request), lock, metadata: BTreeMap::new() })
    }

    /// The digest of question and answer: lines, circumstances, files. Where the files were fetched from is not in it.
    pub fn digest(&self) -> Digest {
        let packages =
            self.lock.packages.iter().map(|wheel| (&wheel.filename, wheel.sha256.as_str(), &wheel.direct_url));
        let removed = self.lock.removed.iter().map(|gone| (&gone.name, &gone.version));
        let choice = json!({
            "format": FORMAT,
            "circumstances": self.circumstances.as_str(),
            "requirements": self.lines,
            "packages": packages.collect::<Vec<_>>(),
            "removed": removed.collect::<Vec<_>>(),
        });
        Digest::of(choice.to_string().as_bytes())
    }

    /// The lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The packages whose metadata is not known yet.
    pub fn without_metadata(&self) -> Vec<LockedWheel> {
        let is_unknown = |wheel: &&LockedWheel| !self.metadata.contains_key(&wheel.name);
        self.lock.packages.iter().filter(is_unknown).cloned().collect()
    }

    /// Takes the text of `METADATA` of the package `name`, as far as uv reads it.
    pub fn add_metadata(&mut self, name: &str, text: &[u8]) {
        self.metadata.insert(name.to_owned(), headers(&String::from_utf8_lossy(text)));
    }

    /// Takes over the metadata of the packages that `other` has in the same file.
    pub fn add_metadata_of(&mut self, other: &Self) {
        for wheel in &self.lock.packages {
            let is_same = |known: &&LockedWheel| known.name == wheel.name && known.sha256 == wheel.sha256;
            if let (Some(known), None) = (other.lock.packages.iter().find(is_same), self.metadata.get(&wheel.name))
                && let Some(text) = other.metadata.get(&known.name)
            {
                self.metadata.insert(known.name.clone(), text.clone());
            }
        }
    }

    /// Writes the record; equal records have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let record = Record {
            format: FORMAT,
            circumstances: self.circumstances.clone(),
            requirements: self.lines.clone(),
            lock: String::from_utf8(self.lock.to_bytes()).unwrap_or_default(),
            metadata: self.metadata.clone(),
        };
        serde_json::to_vec(&record).unwrap_or_default()
    }

    /// Reads what [`Chosen::to_bytes`] wrote; `None` for anything else, which is no loss.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let record: Record = serde_json::from_slice(bytes).ok()?;
        let lock = Lock::from_bytes(record.lock.as_bytes()).ok().filter(|_| record.format == FORMAT)?;
        let (circumstances, lines, metadata) = (record.circumstances, record.requirements, record.metadata);
        Some(Self { circumstances, lines, lock, metadata })
    }

    /// Whether the address of a file may be a signed one, which is for nobody else's eyes.
    pub fn may_hold_secrets(&self) -> bool {
        self.lock.packages.iter().any(|wheel| wheel.url.contains('?'))
    }

    /// How many lines `request` adds to what was asked here; `None` when anything else differs.
    pub fn lines_added(&self, request: &ResolveRequest) -> Option<usize> {
        self.added(request).map(|lines| lines.len())
    }

    /// The lines as `request` has them, credentials and all, that are new.
    fn added(&self, request: &ResolveRequest) -> Option<Vec<String>> {
        let chooses_anew = request.upgrade || request.arguments.keys().any(|key| key.contains("upgrade"));
        if chooses_anew || circumstances_key(request)? != self.circumstances {
            return None;
        }
        let mut left = self.lines.clone();
        let mut added = Vec::new();
        for file in &request.requirements {
            let whole = requirement::logical_lines(&file.text);
            for (line, clean) in whole.into_iter().zip(clean_lines(file, request)).filter(|(line, _)| !is_option(line))
            {
                match left.iter().position(|known| *known == clean) {
                    Some(at) => drop(left.swap_remove(at)),
                    None => added.push(line),
                }
            }
        }
        // With hashes, every line that uv sees must have some; what stays is not among the lines.
        let has_hashes = added.iter().chain(&self.lines).any(|line| line.contains("--hash"));
        (left.is_empty() && !has_hashes).then_some(added)
    }

    /// The question for the lines that `request` adds; `None` when more than added lines differs, or metadata is missing.
    pub(super) fn question_of(&self, request: &ResolveRequest) -> Option<ResolveRequest> {
        self.question(request, &self.added(request)?)
    }

    /// The lock with what the added lines need beside it. `None` when a version chosen before would have to change, or when
    /// there is no answer: then everything has to be chosen anew.
    ///
    /// # Errors
    /// Fails when the resolver could not be run.
    pub(super) fn with(&self, found: Result<Option<Resolved>, ResolveError>) -> Result<Option<Resolved>, ResolveError> {
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None)
            | Err(
                ResolveError::Unsatisfiable { .. }
                | ResolveError::NoWheel { .. }
                | ResolveError::Answer(_)
                | ResolveError::Change { .. }
                | ResolveError::Lost { .. },
            ) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut all = Resolved { lock: self.lock.clone(), unbuilt: found.unbuilt };
        for wheel in found.lock.packages {
            all.add(wheel);
        }
        Ok(Some(all))
    }

    /// The question for the added lines alone, with everything chosen before counted as installed.
    fn question(&self, request: &ResolveRequest, added: &[String]) -> Option<ResolveRequest> {
        let mut lines: Vec<String> = Vec::new();
        for file in &request.requirements {
            lines.extend(requirement::logical_lines(&file.text).into_iter().filter(|line| is_option(line)));
        }
        lines.extend(added.iter().cloned());
        let first = request.requirements.first()?;
        let asked = RequirementText { text: lines.join("\n"), ..first.clone() };
        let is_gone = |name: &str| self.lock.removed.iter().any(|gone| gone.name == name);
        let mut installed: Vec<ParentDistribution> =
            request.installed.iter().filter(|dist| !is_gone(&dist.name)).cloned().collect();
        for wheel in &self.lock.packages {
            installed.push(ParentDistribution {
                name: wheel.name.clone(),
                version: wheel.version.clone(),
                metadata: self.metadata.get(&wheel.name)?.clone().into_bytes(),
                installer: Some("uv\n".to_owned()),
            });
        }
        Some(ResolveRequest { requirements: vec![asked], installed, ..request.clone() })
    }
}

fn requirement_lines(request: &ResolveRequest) -> Vec<String> {
    request.requirements.iter().flat_map(|file| clean_lines(file, request)).filter(|line| !is_option(line)).collect()
}

/// The headers that uv reads, each on its line; folded ones are joined (RFC 5322, section 2.2.3).
fn headers(text: &str) -> String {
    let mut kept = String::new();
    let mut is_kept = false;
    for line in text.lines().take_while(|line| !line.trim_end().is_empty()) {
        if line.starts_with([' ', '\t']) {
            if is_kept {
                kept.pop();
                kept.push(' ');
                kept.push_str(line.trim());
                kept.push('\n');
            }
            continue;
        }
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        is_kept = HEADERS.contains(&name.as_str());
        if is_kept {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::tests::request;

    fn wheel(name: &str) -> LockedWheel {
        LockedWheel {
            name: name.into(),
            version: "1.0".into(),
            filename: format!("{name}-1.0-py3-none-any.whl"),
            url: format!("https://files.example/{name}-1.0-py3-none-any.whl"),
            sha256: Digest::of(name.as_bytes()),
            size: Some(7),
            direct_url: None,
            index: None,
            origin: None,
        }
    }

    fn chosen(text: &str) -> Chosen {
        let lock = Lock { packages: vec![wheel("a"), wheel("b")], removed: vec![] };
        let mut chosen = Chosen::of(&request(text), lock).unwrap();
        chosen.add_metadata(
            "a",
            b"Metadata-Version: 2.1\nName: a\nVersion: 1.0\nSummary: x\n folded\nRequires-Dist: b\n (>=1)\n\nlong",
        );
        chosen
    }

    #[test]
    fn only_added_lines_are_answered_from_an_earlier_choice() {
        let before = chosen("--pre\na>=1\nx @ https://u:p@h.example/x.whl");
        for (text, expected) in [
            ("--pre\na>=1\nx @ https://u:p@h.example/x.whl", Some(0)),
            ("# sorted\n--pre\nc\nx @ https://u:other@h.example/x.whl\n\na>=1\nd", Some(2)),
            ("--pre\na>=1", None),
            ("--pre\na>=2\nx @ https://u:p@h.example/x.whl", None),
            ("a>=1\nx @ https://u:p@h.example/x.whl\nc", None),
            ("--pre\na>=1\nx @ https://u:p@h.example/x.whl\nc --hash=sha256:00", None),
            ("--pre\na>=1\nx @ https://u:p@h.example/x.whl\n./c-1-py3-none-any.whl", None),
        ] {
            assert_eq!(before.lines_added(&request(text)), expected, "{text}");
        }
        let mut changed = request("--pre\na>=1\nx @ https://u:p@h.example/x.whl\nc");
        assert_eq!(before.lines_added(&changed), Some(1));
        changed.upgrade = true;
        assert_eq!(before.lines_added(&changed), None);
        changed.upgrade = false;
        changed.target.version = "3.12".into();
        assert_eq!(before.lines_added(&changed), None);
    }

    #[test]
    fn record_is_read_back_and_holds_no_credential() {
        let before = chosen("a>=1\nx @ https://u:s3cret@h.example/x.whl");
        let bytes = before.to_bytes();
        assert_eq!(Chosen::from_bytes(&bytes).as_ref(), Some(&before));
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("s3cret") && !text.contains("long") && !text.contains("Summary"), "{text}");
        assert_eq!(before.metadata["a"], "Metadata-Version: 2.1\nName: a\nVersion: 1.0\nRequires-Dist: b (>=1)\n");
        assert_eq!(Chosen::from_bytes(&text.replace("\"format\":1", "\"format\":2").into_bytes()), None);
        assert_eq!(Chosen::from_bytes(b"{}"), None);
    }

    #[test]
    fn question_counts_what_was_chosen_as_installed() {
        let mut before = chosen("a");
        let mut asked = request("--pre\na\nc");
        asked.installed.push(ParentDistribution {
            name: "pip".into(),
            version: "23".into(),
            metadata: Vec::new(),
            installer: None,
        });
        assert!(before.question(&asked, &["c".into()]).is_none(), "the metadata of `b` is missing");
        assert_eq!(before.without_metadata(), [wheel("b")]);
        before.add_metadata("b", b"Name: b\n");
        let question = before.question(&asked, &["c".into()]).unwrap();
        assert_eq!(question.requirements[0].text, "--pre\nc");
        let installed: Vec<&str> = question.installed.iter().map(|dist| dist.name.as_str()).collect();
        assert_eq!(installed, ["pip", "a", "b"]);
    }

    #[test]
    fn metadata_is_taken_over_for_the_same_file_alone() {
        let before = chosen("a");
        let mut other = wheel("a");
        let mut after = Chosen::of(&request("c"), Lock { packages: vec![other.clone()], removed: vec![] }).unwrap();
        after.add_metadata_of(&before);
        assert!(after.without_metadata().is_empty());
        other.sha256 = Digest::of(b"other");
        let mut after = Chosen::of(&request("c"), Lock { packages: vec![other], removed: vec![] }).unwrap();
        after.add_metadata_of(&before);
        assert_eq!(after.without_metadata().len(), 1);
    }
}
