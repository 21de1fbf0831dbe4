//! The key of a resolution, and resolutions that the store remembers.
//!
//! The key covers what was asked, not what an index holds today: asking anew is the caller's wish.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::arguments::{names_a_folder, without_secrets};
use super::error::ResolveError;
use super::index::{has_userinfo, without_userinfo};
use super::place::{Place, places};
use super::request::{RequirementText, ResolveRequest};
use super::requirement;
use crate::oci::Digest;
use crate::python::lock::Lock;
use crate::settings::Installer;
use crate::store::Store;

const KIND: &str = "resolutions";
/// Changes when the same question may get another answer.
const FORMAT: u32 = 2;
/// Variables that change what uv or pip chooses.
const VARIABLES: [&str; 17] = [
    "PIP_CONSTRAINT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_PRE",
    "UV_CONSTRAINT",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
];

/// The key of a resolution; the same on every machine and free of secrets.
///
/// `None` when the answer depends on a folder or file of this machine, which no key covers.
pub fn resolution_key(request: &ResolveRequest) -> Option<Digest> {
    let mut question = circumstances(request)?;
    question["requirements"] = as_one(&request.requirements, request, |_| true);
    Some(Digest::of(question.to_string().as_bytes()))
}

/// The key of everything that versions are chosen from beside the requirement lines: options, constraints, the
/// interpreter, what the parent has, arguments and environment; `None` as for [`resolution_key`].
pub(super) fn circumstances_key(request: &ResolveRequest) -> Option<Digest> {
    let mut question = circumstances(request)?;
    question["options"] = as_one(&request.requirements, request, is_option);
    Some(Digest::of(question.to_string().as_bytes()))
}

/// Whether a line of a requirements file is an option of the whole file.
pub(super) fn is_option(line: &str) -> bool {
    line.starts_with('-')
}

/// The lines of a file without userinfo; what lies on this machine is named by its content, where that is known.
pub(super) fn clean_lines(file: &RequirementText, request: &ResolveRequest) -> Vec<String> {
    let contents = contents(file, request);
    let clean_line = |line: &String| match contents.get(line) {
        Some(Some(content)) => format!("{content} {}", line.split('[').nth(1).unwrap_or_default()),
        _ => clean(line),
    };
    requirement::logical_lines(&file.text).iter().map(clean_line).collect()
}

/// The lines that name something on this machine, each with the digest of its content, where that is known.
fn contents(file: &RequirementText, request: &ResolveRequest) -> BTreeMap<String, Option<Digest>> {
    let of_place = |place: Place| {
        let path = place.local_path(&file.folder)?;
        Some((place.line, request.contents.get(&path).cloned()))
    };
    places(std::slice::from_ref(file)).into_iter().filter_map(of_place).collect()
}

/// The lines of all files that are `kept`, as those of one file: how lines are spread over files changes no answer.
fn as_one(files: &[RequirementText], request: &ResolveRequest, kept: impl Fn(&str) -> bool) -> Value {
    let lines = files.iter().flat_map(|file| clean_lines(file, request));
    let lines: Vec<String> = lines.filter(|line| kept(line)).collect();
    if files.is_empty() { json!([]) } else { json!([lines]) }
}

fn circumstances(request: &ResolveRequest) -> Option<Value> {
    let own = match request.installer {
        Installer::Uv => "UV_",
        Installer::Pip => "PIP_",
    };
    let variables: Vec<(&str, String)> = VARIABLES
        .into_iter()
        .filter(|name| name.starts_with(own))
        .filter_map(|name| Some((name, request.environment.value(name)?)))
        .map(|(name, value)| (name, clean(value)))
        .collect();
    let names_files = ["PIP_CONSTRAINT", "PIP_FIND_LINKS", "UV_CONSTRAINT", "UV_FIND_LINKS", "UV_OVERRIDE"];
    if names_a_folder(&request.arguments)
        || request.requirements.iter().chain(&request.constraints).any(|file| is_local(file, request))
        || variables.iter().any(|(name, _)| names_files.contains(name))
    {
        return None;
    }
    let mut installed: Vec<(&str, &str)> =
        request.installed.iter().map(|dist| (dist.name.as_str(), dist.version.as_str())).collect();
    installed.sort_unstable();
    let mut question = json!({
        "format": FORMAT,
        "constraints": as_one(&request.constraints, request, |_| true),
        "python": request.target.version,
        "platform": request.target.platform.to_string(),
        "libc": request.target.libc.to_string(),
        "installed": installed,
        "arguments": without_secrets(&request.arguments),
        "environment": variables,
    });
    // Named only where it is not uv: questions to uv keep the keys that they have.
    if request.installer == Installer::Pip {
        question["installer"] = json!("pip");
    }
    Some(question)
}

/// Whether a file names something on this machine whose content is not known.
fn is_local(file: &RequirementText, request: &ResolveRequest) -> bool {
    let lines = requirement::logical_lines(&file.text);
    contents(file, request).values().any(Option::is_none)
        || requirement::option_values(&lines, &["--find-links", "-f"]).into_iter().any(requirement::is_local)
}

/// The lock that the store remembers for `request`; `None` after `upgrade`, and for what no key covers.
///
/// # Errors
/// Fails when the store cannot be read.
pub fn recall(store: &Store, request: &ResolveRequest) -> Result<Option<Lock>, ResolveError> {
    let Some(key) = resolution_key(request).filter(|_| !request.upgrade) else { return Ok(None) };
    let bytes = store.record(KIND, key.as_str())?;
    // A lock that an older version wrote is asked for again.
    Ok(bytes.and_then(|bytes| Lock::from_bytes(&bytes).ok()))
}

/// Remembers `lock` as the answer to `request`.
///
/// # Errors
/// Fails when the store cannot be written.
pub fn remember(store: &Store, request: &ResolveRequest, lock: &Lock) -> Result<(), ResolveError> {
    match resolution_key(request) {
        Some(key) => Ok(store.put_record(KIND, key.as_str(), &lock.to_bytes())?),
        None => Ok(()),
    }
}

/// A line with its words' userinfo taken out and its spaces made one.
pub fn clean(line: &str) -> String {
    let word = |word: &str| {
        if !has_userinfo(word) {
            return word.to_owned();
        }
        let scheme = word.find("://").unwrap_or_default();
        let start = word[..scheme].rfind(['=', '@', ',', '+']).map_or(0, |at| at + 1);
        format!("{}{}", &word[..start], without_userinfo(&word[start..]))
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::Libc;
    use crate::resolver::request::tests::request;

    #[test]
    fn key_ignores_layout_and_secrets_and_sees_the_rest() {
        let key = |text: &str| resolution_key(&request(text)).unwrap();
        let plain = key("a==1\nb");
        assert_eq!(plain, key("# all\n a==1  # one\n\nb\n"));
        assert_ne!(plain, key("a==2\nb"));
        assert_eq!(key("--index-url https://u:p@h.example/s"), key("--index-url https://u:q@h.example/s"));
        assert_eq!(key("--index-url=https://u:p@h.example/s"), key("--index-url=https://h.example/s"));
        assert_ne!(key("--index-url https://h.example/s"), key("--index-url https://i.example/s"));
        assert_eq!(key("x @ https://u:p@h.example/x.whl"), key("x @ https://h.example/x.whl"));
        let mut changed = request("a==1\nb");
        changed.target.libc = Libc::Musl(1, 2);
        assert_ne!(resolution_key(&changed).unwrap(), plain);
        let mut changed = request("a==1\nb");
        changed.arguments.insert("no-cache-dir".into(), None);
        assert_eq!(resolution_key(&changed).unwrap(), plain);
        changed.arguments.insert("prerelease".into(), Some("allow".into()));
        assert_ne!(resolution_key(&changed).unwrap(), plain);
    }

    #[test]
    fn what_depends_on_local_files_has_no_key() {
        let mut known = request("./lib[x] ; python_version > '3'");
        assert_eq!(resolution_key(&known), None);
        known.contents.insert("/project/lib".into(), Digest::of(b"one"));
        let one = resolution_key(&known).unwrap();
        known.contents.insert("/project/lib".into(), Digest::of(b"two"));
        assert_ne!(resolution_key(&known).unwrap(), one);
        for text in ["./a-1-py3-none-any.whl", "-e .", "a @ file:///a.whl", "--find-links wheels"] {
            assert_eq!(resolution_key(&request(text)), None, "{text}");
        }
        let mut local = request("a");
        local.arguments.insert("find-links".into(), Some("wheels".into()));
        assert_eq!(resolution_key(&local), None);
    }

    #[test]
    fn locks_are_remembered_until_an_upgrade() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let mut request = request("a");
        assert_eq!(recall(&store, &request).unwrap(), None);
        remember(&store, &request, &Lock::default()).unwrap();
        assert_eq!(recall(&store, &request).unwrap(), Some(Lock::default()));
        request.upgrade = true;
        assert_eq!(recall(&store, &request).unwrap(), None);
    }
}
