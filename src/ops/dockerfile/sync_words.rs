//! A `uv sync` in uv's words: which of its options choose, which say where packages come from, and which are not known.
//!
//! Nothing is run or looked up here.

use std::collections::BTreeMap;

use crate::dockerfile::run::{ConfigFile, PipInstall, UvSync};
use crate::plan::files::NotNative;
use crate::python::uv_project::UvProject;

use super::uv_venv::synced;

/// Options that say which index, and what of it may be chosen; a variable of uv has each.
pub(super) const VARIABLES: [(&str, &str); 12] = [
    ("allow-insecure-host", "UV_INSECURE_HOST"),
    ("default-index", "UV_DEFAULT_INDEX"),
    ("exclude-newer", "UV_EXCLUDE_NEWER"),
    ("extra-index-url", "UV_EXTRA_INDEX_URL"),
    ("find-links", "UV_FIND_LINKS"),
    ("index", "UV_INDEX"),
    ("index-strategy", "UV_INDEX_STRATEGY"),
    ("index-url", "UV_INDEX_URL"),
    ("no-index", "UV_NO_INDEX"),
    ("no-sources", "UV_NO_SOURCES"),
    ("prerelease", "UV_PRERELEASE"),
    ("resolution", "UV_RESOLUTION"),
];

/// The variables of uv in the place of options.
pub(super) fn variables(sync: &UvSync) -> BTreeMap<String, String> {
    let given = VARIABLES.iter().filter_map(|(option, variable)| {
        let value = sync.installer_args.get(*option)?;
        Some(((*variable).to_owned(), value.clone().unwrap_or_else(|| "1".to_owned())))
    });
    given.collect()
}

/// The installation that stands for it.
///
/// # Errors
/// Fails for an option of which it is not known what it changes.
pub(super) fn installation(sync: &UvSync, about: &UvProject) -> Result<PipInstall, NotNative> {
    let is_known = |name: &&String| VARIABLES.iter().any(|(known, _)| name == known);
    if let Some(name) = sync.installer_args.keys().find(|name| !is_known(name)) {
        return Err(NotNative::because(format!("what `--{name}` changes is not known without running it")));
    }
    let is_here = |links: &String| !links.split([',', ' ']).all(|link| link.contains("://"));
    if sync.installer_args.get("find-links").and_then(Option::as_ref).is_some_and(is_here) {
        return Err(NotNative::because("it looks for packages in a folder of the image"));
    }
    if sync.config == ConfigFile::Off && about.has_settings {
        return Err(NotNative::because("it leaves the settings of the project out"));
    }
    let own = synced("");
    Ok(PipInstall { installer_args: sync.installer_args.clone(), config: sync.config.clone(), ..own })
}

/// Whether a variable is a login at an index that a project names.
pub(super) fn is_login(name: &str) -> bool {
    name.starts_with("UV_INDEX_") && (name.ends_with("_USERNAME") || name.ends_with("_PASSWORD"))
}

/// The options by which extras and groups are chosen.
pub(super) fn choices(sync: &UvSync) -> Vec<String> {
    let named = |option: &str, names: &[String]| {
        let words = names.iter().flat_map(|name| [option.to_owned(), name.clone()]);
        words.collect::<Vec<_>>()
    };
    // A project need not have the group that these two mean.
    let (dev, without): (Vec<String>, Vec<String>) =
        sync.groups.without.iter().cloned().partition(|name| name == "dev");
    let (only_dev, only): (Vec<String>, Vec<String>) = sync.groups.only.iter().cloned().partition(|name| name == "dev");
    let switches = [
        ("--all-packages", sync.all_packages),
        ("--all-extras", sync.all_extras),
        ("--all-groups", sync.groups.all),
        ("--no-default-groups", sync.groups.no_defaults),
        ("--no-dev", !dev.is_empty()),
        ("--only-dev", !only_dev.is_empty()),
    ];
    let mut words: Vec<String> =
        switches.iter().filter(|(_, is_given)| *is_given).map(|(word, _)| (*word).to_owned()).collect();
    words.extend(named("--package", &sync.packages));
    words.extend(named("--extra", &sync.extras));
    words.extend(named("--group", &sync.groups.with));
    words.extend(named("--no-group", &without));
    words.extend(named("--only-group", &only));
    words
}

/// The packages of a lock without those that are folders of the project; `None` where there are none of these.
pub(super) fn without_folders(packages: &str) -> Option<String> {
    let mut document: toml::Table = packages.parse().ok()?;
    let listed = document.get_mut("packages")?.as_array_mut()?;
    let count = listed.len();
    listed.retain(|package| package.get("directory").is_none());
    (listed.len() < count).then(|| document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::run::Groups;

    fn sync() -> UvSync {
        UvSync {
            environment: None,
            active: false,
            python: None,
            frozen: true,
            locked: false,
            packages: Vec::new(),
            all_packages: false,
            extras: vec!["x".into()],
            all_extras: false,
            groups: Groups { without: vec!["dev".into(), "docs".into()], ..Groups::default() },
            no_install_project: false,
            no_install_workspace: false,
            no_editable: false,
            inexact: false,
            compiles: false,
            installer_args: BTreeMap::new(),
            cache: Default::default(),
            config: ConfigFile::Usual,
        }
    }

    #[test]
    fn what_is_chosen_of_a_lock_is_said_to_uv_in_its_words() {
        assert_eq!(choices(&sync()).join(" "), "--no-dev --extra x --no-group docs");
        let groups = Groups { only: vec!["dev".into(), "lint".into()], ..Groups::default() };
        let only = UvSync { groups, extras: Vec::new(), ..sync() };
        assert_eq!(choices(&only).join(" "), "--only-dev --only-group lint");
    }

    #[test]
    fn folders_are_no_packages_of_an_index() {
        let text = "lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\ndirectory = { path = \"a\" }\n[[packages]]\nname = \"b\"\n";
        assert!(without_folders(text).is_some_and(|left| left.contains("name = \"b\"") && !left.contains("\"a\"")));
        assert_eq!(without_folders("[[packages]]\nname = \"b\"\n"), None);
    }

    #[test]
    fn options_that_change_what_is_installed_are_left_to_a_backend() {
        let about = UvProject::parse("[project]\nname = \"x\"\n[tool.uv]\npackage = false\n").unwrap();
        let with = |name: &str, value: Option<&str>| {
            let installer_args = BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]);
            UvSync { installer_args, ..sync() }
        };
        let reason = |sync: &UvSync| installation(sync, &about).err().map(|error| error.reason);
        assert_eq!(reason(&with("default-index", Some("https://h.example/simple"))), None);
        assert!(reason(&with("upgrade", None)).unwrap().contains("`--upgrade`"));
        assert!(reason(&with("find-links", Some("/wheels"))).unwrap().contains("folder of the image"));
        assert!(reason(&UvSync { config: ConfigFile::Off, ..sync() }).unwrap().contains("settings"));
        let named = with("no-index", None);
        assert_eq!(variables(&named), BTreeMap::from([("UV_NO_INDEX".to_owned(), "1".to_owned())]));
    }
}
