//! Levels of settings laid over each other: maps merge key by key, lists and scalars replace.
//!
//! It knows nodes, not types; what a merged value means is read afterwards.

use super::field::Reader;
use super::yaml::{Data, Entry, Node};

/// Sections in which names that differ in case alone are one name.
const CASELESS: [&str; 2] = ["environment", "runtime_environment"];
/// The Docker SDK's names of build options, and ZenML's.
pub(super) const SDK_OPTIONS: [(&str, &str); 4] =
    [("buildargs", "build_args"), ("cachefrom", "cache_from"), ("nocache", "no_cache"), ("shmsize", "shm_size")];
/// What took the place of `source_files`.
const DELIVERY: [&str; 3] =
    ["allow_including_files_in_images", "allow_download_from_code_repository", "allow_download_from_artifact_store"];

/// Lays `over` over `base`.
pub(super) fn merge(base: Node, over: Node) -> Node {
    match (base.data, over.data) {
        (Data::Map(mut entries), Data::Map(new)) => {
            for entry in new {
                put(&mut entries, entry);
            }
            Node { at: base.at, data: Data::Map(entries) }
        }
        (_, data) => Node { at: over.at, data },
    }
}

/// Lays one level of `settings.docker` over another; `null` for a whole level says nothing.
pub(super) fn merge_docker(mut base: Node, over: Node) -> Node {
    match (&base.data, &over.data) {
        (_, Data::Null) => return base,
        (Data::Null, _) => return over,
        _ => {}
    }
    for section in CASELESS {
        let names = entry_of(&over, section).map(entries_of).into_iter().flatten();
        let names: Vec<&str> = names.map(|entry| entry.key.as_str()).collect();
        for entry in entry_mut(&mut base, section).map(entries_mut).into_iter().flatten() {
            let is_same = |name: &&str| **name != entry.key && name.to_uppercase() == entry.key.to_uppercase();
            entry.is_shadowed |= names.iter().any(is_same);
        }
    }
    merge(base, over)
}

fn put(entries: &mut Vec<Entry>, entry: Entry) {
    match entries.iter().position(|known| known.key == entry.key) {
        Some(at) => {
            let base = entries.remove(at);
            let value = merge(base.value, entry.value);
            entries.insert(at, Entry { value, ..entry });
        }
        None => entries.push(entry),
    }
}

/// Puts old spellings of one level into new ones, before it is laid over another.
pub(super) fn modernise(docker: &mut Node, reader: &Reader<'_>) {
    for section in ["build_config", "parent_image_build_config"] {
        if let Some(options) = entry_mut(docker, section).and_then(|config| entry_mut(config, "build_options")) {
            rename_options(options, reader);
        }
    }
    migrate_source_files(docker, reader);
}

fn rename_options(options: &mut Node, reader: &Reader<'_>) {
    for (sdk, name) in SDK_OPTIONS {
        let is_both = entry_of(options, name).is_some();
        for entry in entries_mut(options).iter_mut().filter(|entry| entry.key == sdk) {
            if is_both {
                reader.warn(
                    entry.at,
                    &format!("`{sdk}` is passed over: `{name}` is the same option, and stands beside it"),
                );
            } else {
                entry.key = name.to_owned();
            }
        }
    }
}

/// Writes the three flags that `source_files` stands for, unless one of them is there.
fn migrate_source_files(docker: &mut Node, reader: &Reader<'_>) {
    let Some(entry) = entries_of(docker).iter().find(|entry| entry.key == "source_files") else { return };
    let (at, value_at) = (entry.at, entry.value.at);
    let Data::Text { text, .. } = &entry.value.data else { return };
    let flags = match text.as_str() {
        "ignore" => [false, false, false],
        "include" => [true, false, false],
        "download" => [false, true, false],
        "download_or_include" => [true, true, false],
        _ => return,
    };
    if DELIVERY.iter().any(|flag| entry_of(docker, flag).is_some()) {
        reader.warn(at, "`source_files` is passed over: the settings that took its place stand beside it");
        return;
    }
    let Data::Map(entries) = &mut docker.data else { return };
    entries.extend(DELIVERY.into_iter().zip(flags).map(|(key, value)| {
        let value = Node { at: value_at, data: Data::Bool(value) };
        Entry { key: key.to_owned(), at, value, is_shadowed: false }
    }));
}

/// The value of a key of a mapping.
pub(super) fn entry_of<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    entries_of(node).iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

fn entry_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    entries_mut(node).iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

fn entries_of(node: &Node) -> &[Entry] {
    match &node.data {
        Data::Map(entries) => entries,
        _ => &[],
    }
}

fn entries_mut(node: &mut Node) -> &mut [Entry] {
    match &mut node.data {
        Data::Map(entries) => entries,
        _ => &mut [],
    }
}
