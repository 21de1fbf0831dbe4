//! What uv would change in an image, read from the words of its dry run.
//!
//! A line that is not understood is an error: what is left out here would be missing in the image.

use super::error::ResolveError;
use super::request::{ParentDistribution, ResolveRequest};
use super::requirement;
use super::resolved::Resolved;
use crate::python::lock::RemovedDistribution;
use crate::python::normalize_name;

/// What uv would do to the parent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) installed: Vec<Installed>,
    pub(super) removed: Vec<RemovedDistribution>,
}

/// A distribution that uv would install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    /// The normalised name.
    pub(super) name: String,
    /// The version, which uv leaves out for a requirement that names a place.
    pub(super) version: Option<String>,
    /// The place, its password made unreadable.
    pub(super) place: Option<String>,
}

impl Changes {
    /// Reads the lines ` + name==version`, ` + name @ place` (or ` + name==version (from place)`), ` - name==version` and
    /// ` ~ name==version` of a dry run into an environment that has `parent`.
    ///
    /// # Errors
    /// Fails at a line that begins as these do and goes on otherwise.
    pub(super) fn read(text: &str, parent: &[ParentDistribution]) -> Result<Self, ResolveError> {
        let mut changes = Self::default();
        for line in text.lines() {
            let is_change = |sign: &&str| line.strip_prefix(*sign);
            let Some(rest) = [" + ", " - ", " ~ "].iter().find_map(is_change) else { continue };
            let installed = read(rest).ok_or_else(|| ResolveError::Change { line: line.trim().to_owned() })?;
            let known = parent.iter().find(|dist| dist.name == installed.name).map(|dist| &dist.version);
            if !line.starts_with(" + ")
                && let Some(version) = known.or(installed.version.as_ref())
            {
                changes.removed.push(RemovedDistribution { name: installed.name.clone(), version: version.clone() });
            }
            if !line.starts_with(" - ") {
                changes.installed.push(installed);
            }
        }
        changes.removed.sort();
        Ok(changes)
    }

    /// A requirements file that asks for the files of these changes alone, from the indexes that `request` names.
    pub(super) fn pins(&self, request: &ResolveRequest) -> String {
        let files: Vec<_> = request.requirements.iter().map(requirement::absolute).collect();
        let options = files.iter().flat_map(|file| requirement::logical_lines(&file.text));
        let mut lines: Vec<String> =
            options.filter(|line| requirement::is_option(line) && line != "--require-hashes").collect();
        let direct = requirement::direct(&files);
        for Installed { name, version, place } in &self.installed {
            // The line as it was given: uv's words have no passwords.
            let given = direct.iter().find(|line| line.is_place && line.name.as_ref() == Some(name));
            lines.push(match (version, place, given) {
                (_, Some(_), Some(given)) => given.line.clone(),
                (_, Some(place), None) => format!("{name} @ {place}"),
                (version, None, _) => format!("{name}=={}", version.as_deref().unwrap_or_default()),
            });
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }

    /// What of `whole` these changes install, when it is all there.
    pub(super) fn chosen_of(&self, whole: &Resolved) -> Option<Resolved> {
        let mut chosen = Resolved::default();
        for Installed { name, version, .. } in &self.installed {
            let is_meant = |own: &str, found: &str| own == name && version.as_ref().is_none_or(|known| known == found);
            let mut wheels = whole.lock.packages.iter();
            match wheels.find(|wheel| is_meant(&wheel.name, &wheel.version)) {
                Some(wheel) => chosen.lock.packages.push(wheel.clone()),
                None => {
                    let mut sources = whole.unbuilt.iter();
                    chosen.unbuilt.push(sources.find(|source| is_meant(&source.name, &source.version))?.clone());
                }
            }
        }
        chosen.lock.packages.sort_by(|a, b| a.name.cmp(&b.name));
        chosen.unbuilt.sort_by(|a, b| a.name.cmp(&b.name));
        Some(chosen)
    }
}

fn read(rest: &str) -> Option<Installed> {
    if let Some((name, place)) = rest.split_once(" @ ") {
        let place = Some(place.trim().to_owned()).filter(|place| !place.is_empty())?;
        return Some(Installed { name: normalize_name(name), version: None, place: Some(place) });
    }
    // As uv wrote it before.
    let (pin, place) = match rest.split_once(" (from ") {
        Some((pin, place)) => (pin, Some(place.strip_suffix(')')?.to_owned())),
        None => (rest, None),
    };
    let (name, version) = pin.split_once("==")?;
    Some(Installed { name: normalize_name(name), version: Some(version.trim().to_owned()), place })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::tests::request;

    fn installed(name: &str, version: Option<&str>, place: Option<&str>) -> Installed {
        Installed { name: name.into(), version: version.map(str::to_owned), place: place.map(str::to_owned) }
    }

    fn removed(name: &str, version: &str) -> RemovedDistribution {
        RemovedDistribution { name: name.into(), version: version.into() }
    }

    #[test]
    fn changes_are_read_from_a_dry_run() {
        let text = "Resolved 3 packages in 2ms\nWould uninstall 1 package\nWould install 4 packages\n - Foo_Bar==1.0\n \
                    + foo-bar==1.1\n + aaa==1.0 (from file:///w/aaa-1.0-py3-none-any.whl)\n ~ c==2\n \
                    + D_e @ https://u:****@h.example/d_e-1-py3-none-any.whl\n";
        let parent =
            ParentDistribution { name: "c".into(), version: "2".into(), metadata: Vec::new(), installer: None };
        let changes = Changes::read(text, &[parent]).unwrap();
        let expected = [
            installed("foo-bar", Some("1.1"), None),
            installed("aaa", Some("1.0"), Some("file:///w/aaa-1.0-py3-none-any.whl")),
            installed("c", Some("2"), None),
            installed("d-e", None, Some("https://u:****@h.example/d_e-1-py3-none-any.whl")),
        ];
        assert_eq!(changes.installed, expected);
        assert_eq!(changes.removed, [removed("c", "2"), removed("foo-bar", "1.0")]);
        let none = Changes::read("Checked 2 packages in 6ms\nWould make no changes\n", &[]).unwrap();
        assert_eq!(none, Changes::default());
        for unknown in [" + foo", " - foo 1.0", " ~ @ x", " + foo @ "] {
            assert!(matches!(Changes::read(unknown, &[]), Err(ResolveError::Change { .. })), "{unknown}");
        }
    }

    #[test]
    fn pins_keep_the_indexes_and_the_lines_that_name_a_place() {
        let asked = request(
            "--index-url https://u:p@h.example/s\n--find-links wheels\n--require-hashes\na\n\
             d-e @ https://u:p@h.example/d_e-1-py3-none-any.whl --hash=sha256:00\n./w/b-1-py3-none-any.whl\n",
        );
        let text = " + a==1.0\n + d-e @ https://u:****@h.example/d_e-1-py3-none-any.whl\n + b @ file:///project/w/x\n \
                    + c @ https://h.example/c-1-py3-none-any.whl\n";
        let expected = "--index-url https://u:p@h.example/s\n--find-links /project/wheels\na==1.0\n\
                        d-e @ https://u:p@h.example/d_e-1-py3-none-any.whl\n/project/w/b-1-py3-none-any.whl\n\
                        c @ https://h.example/c-1-py3-none-any.whl\n";
        assert_eq!(Changes::read(text, &[]).unwrap().pins(&asked), expected);
    }
}
