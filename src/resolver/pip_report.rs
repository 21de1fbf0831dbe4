//! pip's installation report, format 1 (pip's documentation, "Installation Report").
//!
//! Only what names files is read; the metadata in it is not.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::error::ResolveError;
use super::request::ResolveRequest;
use super::resolved::Resolved;
use crate::oci::Digest;
use crate::python::lock::{LockedWheel, RemovedDistribution, percent_decoded};
use crate::python::normalize_name;
use crate::python::origin::{Origin, Unbuilt};

#[derive(Deserialize)]
struct Report {
    version: String,
    install: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    download_info: Download,
    #[serde(default)]
    is_direct: bool,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

/// PEP 610's `direct_url.json`.
#[derive(Deserialize)]
struct Download {
    url: String,
    archive_info: Option<Archive>,
    vcs_info: Option<Vcs>,
    subdirectory: Option<String>,
}

#[derive(Default, Deserialize)]
struct Archive {
    hash: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Vcs {
    vcs: String,
    commit_id: String,
    requested_revision: Option<String>,
}

/// Reads what pip would install into the parent of `request`.
///
/// # Errors
/// Fails when the report is of another form, or names something without a SHA-256.
pub(super) fn read(bytes: &[u8], request: &ResolveRequest) -> Result<Resolved, ResolveError> {
    let unknown = |reason: String| ResolveError::Report { reason };
    let report: Report = serde_json::from_slice(bytes).map_err(|error| unknown(error.to_string()))?;
    // Pip 22.2 and 22.3 call the same form `0`.
    if !matches!(report.version.as_str(), "0" | "1") {
        return Err(unknown(format!("format `{}`", report.version)));
    }
    let mut found = Resolved::default();
    for item in report.install {
        let name = normalize_name(&item.metadata.name);
        if let Some(dist) = request.installed.iter().find(|dist| dist.name == name) {
            let (name, version) = (dist.name.clone(), dist.version.clone());
            found.lock.removed.push(RemovedDistribution { name, version });
        }
        place(item, name, request, &mut found).map_err(unknown)?;
    }
    found.lock.removed.sort();
    found.unbuilt.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn place(item: Item, name: String, request: &ResolveRequest, found: &mut Resolved) -> Result<(), String> {
    let Item { download_info: download, is_direct, metadata: Metadata { version, .. } } = item;
    let mut url = Url::parse(&download.url).map_err(|_| format!("no usable place for `{name}`"))?;
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let fragment = url.fragment().map(str::to_owned);
    url.set_fragment(None);
    let subdirectory = download.subdirectory.clone();
    if let Some(Vcs { vcs, commit_id: commit, requested_revision: revision }) = download.vcs_info {
        if vcs != "git" {
            return Err(format!("`{name}` from {vcs}"));
        }
        let origin = Origin::Repository { url: url.into(), revision, commit, subdirectory };
        found.unbuilt.push(Unbuilt { name, version, origin, index: None, expected: None });
        return Ok(());
    }
    let archive = download.archive_info.ok_or_else(|| format!("a folder for `{name}`"))?;
    let sha256 = hash(&archive, fragment.as_deref()).ok_or_else(|| format!("no SHA-256 for `{name}`"))?;
    let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    let filename = percent_decoded(last).unwrap_or_else(|| last.to_owned());
    if !filename.ends_with(".whl") {
        let origin = Origin::Archive { filename, url: url.into(), sha256, size: None, subdirectory, is_direct };
        found.unbuilt.push(Unbuilt { name, version, origin, index: None, expected: None });
        return Ok(());
    }
    if let Some(made) = request.made.iter().find(|made| made.wheel.sha256 == sha256 && made.wheel.name == name) {
        found.add(made.wheel.clone());
        return Ok(());
    }
    let direct_url = is_direct.then(|| direct_url(&url, &sha256));
    let (url, size) = (url.into(), None);
    found.add(LockedWheel { name, version, filename, url, sha256, size, direct_url, index: None, origin: None });
    Ok(())
}

fn hash(archive: &Archive, fragment: Option<&str>) -> Option<Digest> {
    let told = archive.hashes.get("sha256").map(String::as_str);
    let old = archive.hash.as_deref().and_then(|hash| hash.strip_prefix("sha256="));
    let named = fragment.and_then(|fragment| fragment.split('&').find_map(|part| part.strip_prefix("sha256=")));
    let hex = told.or(old).or(named)?;
    Digest::parse(&format!("sha256:{}", hex.to_ascii_lowercase())).ok()
}

/// The text that pip writes: members sorted, a space behind each comma and colon.
fn direct_url(url: &Url, sha256: &Digest) -> String {
    let (hex, url) = (sha256.hex(), json!(url.as_str()));
    format!(
        "{{\"archive_info\": {{\"hash\": \"sha256={hex}\", \"hashes\": {{\"sha256\": \"{hex}\"}}}}, \"url\": {url}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::ParentDistribution;
    use crate::resolver::request::tests::request;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn files_sources_and_replaced_distributions_are_read() {
        let mut asked = request("a");
        asked.installed.push(ParentDistribution {
            name: "b-c".into(),
            version: "0.9".into(),
            metadata: Vec::new(),
            installer: None,
        });
        let item = |name: &str, url: &str, info: &str, direct: bool| {
            format!(
                "{{\"download_info\": {{\"url\": \"{url}\", {info}}}, \"is_direct\": {direct}, \"requested\": true,
                   \"metadata\": {{\"name\": \"{name}\", \"version\": \"1.0\"}}}}"
            )
        };
        let old = format!("\"archive_info\": {{\"hash\": \"sha256={HEX}\"}}");
        let new = format!("\"archive_info\": {{\"hashes\": {{\"sha256\": \"{HEX}\"}}}}");
        let git = "\"vcs_info\": {\"vcs\": \"git\", \"commit_id\": \"dc46\", \"requested_revision\": \"v1\"}";
        let items = [
            item("B_c", "https://u:p@h.example/b_c-1.0-py3-none-any.whl", &old, false),
            item("a", "https://h.example/a-1.0-py3-none-any.whl", &new, true),
            item("d", "https://h.example/d-1.0.tar.gz", &new, false),
            item("e", "https://h.example/e.git", git, true),
        ];
        let text = format!("{{\"version\": \"1\", \"install\": [{}]}}", items.join(","));
        let found = read(text.as_bytes(), &asked).unwrap();
        let names: Vec<&str> = found.lock.packages.iter().map(|wheel| wheel.name.as_str()).collect();
        assert_eq!(names, ["a", "b-c"]);
        assert_eq!(found.lock.packages[1].url, "https://h.example/b_c-1.0-py3-none-any.whl");
        assert!(
            found.lock.packages[0]
                .direct_url
                .as_deref()
                .unwrap()
                .starts_with("{\"archive_info\": {\"hash\": \"sha256=")
        );
        assert_eq!(found.lock.removed[0].version, "0.9");
        let kinds: Vec<&str> = found.unbuilt.iter().map(|source| source.origin.kind()).collect();
        assert_eq!(kinds, ["source distribution", "repository"]);
    }

    #[test]
    fn reports_that_are_not_understood_are_errors() {
        let asked = request("a");
        for text in [
            "",
            "{\"version\": \"2\", \"install\": []}",
            "{\"version\": \"1\", \"install\": [{\"download_info\": {\"url\": \"https://h/a-1-py3-none-any.whl\", \
             \"archive_info\": {}}, \"metadata\": {\"name\": \"a\", \"version\": \"1\"}}]}",
        ] {
            assert!(matches!(read(text.as_bytes(), &asked), Err(ResolveError::Report { .. })), "{text}");
        }
    }
}
