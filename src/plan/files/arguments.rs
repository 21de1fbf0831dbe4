//! The arguments of a `COPY` or `ADD`, with its destination and owner looked up in the stage.
//!
//! Which files they select is worked out where the source is known.

use crate::diagnostic::{Class, Diagnose};
use crate::dockerfile::Copy;
use crate::image::mode::{ModeChange, ModeError};
use crate::image::users::{Owner, OwnerError, copy_owner};

use super::super::key::KeyHasher;
use super::super::layers::add_owner;
use super::stage::StageFiles;

/// Which instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyVerb {
    /// `COPY`.
    Copy,
    /// `ADD`, which unpacks archives and fetches URLs.
    Add,
}

/// A here-document as a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyText {
    /// Its name, which the file takes in a directory.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What a `COPY` or `ADD` is asked for, variables expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyArguments {
    /// Sources, as written.
    pub sources: Vec<String>,
    /// Here-documents.
    pub documents: Vec<CopyText>,
    /// The destination, absolute and clean.
    pub destination: String,
    /// Whether the destination is a directory by the way it is written.
    pub is_directory: bool,
    /// `--chown`, looked up.
    pub owner: Option<Owner>,
    /// `--chmod`.
    pub mode: Option<ModeChange>,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--parents`.
    pub parents: bool,
    /// Whether what is there is not looked at: `--link`, which a mode annuls.
    pub link: bool,
    /// Whether archives are unpacked.
    pub unpack: bool,
}

/// Why arguments make no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgumentError {
    /// `--chmod` is no mode.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// `--chown` cannot be looked up.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// Names with `--link`, which looks nothing up.
    #[error("`--chown={0}` has a name, which `--link` does not look up")]
    LinkedName(String),
    /// Several sources and a destination that is no directory.
    #[error("several sources go to `{0}`, which does not end in `/`")]
    NoDirectory(String),
    /// `COPY` of a URL or a repository.
    #[error("`COPY` takes no URL: `{0}`")]
    Url(String),
}

impl Diagnose for ArgumentError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Mode(error) => error.hint(),
            Self::Owner(error) => error.hint(),
            Self::LinkedName(_) => Some("write numbers, for example `1000:1000`".into()),
            Self::NoDirectory(destination) => Some(format!("write `{destination}/`")),
            Self::Url(_) => Some("use `ADD`".into()),
        }
    }
}

impl CopyArguments {
    /// The arguments of `copy` in a stage with this working directory and these files.
    ///
    /// # Errors
    /// Fails when a mode or owner makes no sense, or several sources go to one name.
    pub fn new(
        copy: &Copy,
        verb: CopyVerb,
        working_directory: &str,
        stage: &StageFiles,
    ) -> Result<Self, ArgumentError> {
        let (destination, is_directory) = destination(working_directory, &copy.destination);
        if copy.sources.len() + copy.documents.len() > 1 && !copy.destination.ends_with('/') && !is_directory {
            return Err(ArgumentError::NoDirectory(copy.destination.clone()));
        }
        let remote = copy.sources.iter().find(|source| is_remote(source));
        if let (Some(source), CopyVerb::Copy) = (remote, verb) {
            return Err(ArgumentError::Url(source.clone()));
        }
        let chmod = copy.chmod.as_deref().filter(|mode| !mode.is_empty());
        let chown = copy.chown.as_deref().filter(|owner| !owner.is_empty());
        let owner = match chown {
            Some(owner) if copy.link && has_name(owner) => return Err(ArgumentError::LinkedName(owner.into())),
            Some(owner) => Some(copy_owner(stage.view(), owner)?),
            None => None,
        };
        let text = |name: &str, content: &str| CopyText { name: name.into(), content: content.into() };
        Ok(Self {
            sources: copy.sources.clone(),
            documents: copy.documents.iter().map(|document| text(&document.name, &document.content)).collect(),
            destination,
            is_directory,
            owner,
            mode: chmod.map(ModeChange::parse).transpose()?,
            exclude: copy.exclude.clone(),
            parents: copy.parents,
            link: copy.link && chmod.is_none(),
            unpack: copy.unpack.unwrap_or(verb == CopyVerb::Add),
        })
    }

    /// The mode of directories that are made on the way.
    pub fn directory_mode(&self) -> u32 {
        self.mode.as_ref().and_then(ModeChange::octal).map_or(0o755, |bits| bits & 0o777)
    }

    pub(crate) fn add_to(&self, key: &mut KeyHasher) {
        for source in &self.sources {
            key.add("source", source);
        }
        for document in &self.documents {
            key.add("document", &document.name);
            key.add("content", &document.content);
        }
        key.add("destination", &self.destination);
        key.add("is-directory", [u8::from(self.is_directory)]);
        if let Some(owner) = self.owner {
            add_owner(key, owner);
        }
        if let Some(mode) = &self.mode {
            key.add("chmod", format!("{mode:?}"));
        }
        for pattern in &self.exclude {
            key.add("exclude", pattern);
        }
        key.add("flags", [u8::from(self.parents), u8::from(self.link), u8::from(self.unpack)]);
    }
}

/// Whether a source is fetched: a URL or a git repository.
pub(crate) fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|scheme| source.starts_with(scheme))
}

fn has_name(owner: &str) -> bool {
    let is_name = |text: &str| !text.is_empty() && text != "root" && text.parse::<i32>().is_err();
    owner.splitn(2, ':').any(is_name)
}

/// The clean absolute path of a destination, and whether it is written as a directory.
fn destination(working_directory: &str, written: &str) -> (String, bool) {
    let joined = if written.starts_with('/') { written.to_owned() } else { format!("{working_directory}/{written}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let is_directory =
        matches!(written, "" | ".") || written.ends_with('/') || written.ends_with("/.") || parts.is_empty();
    (format!("/{}", parts.join("/")), is_directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::HereDocument;
    use crate::image::filesystem::View;

    fn arguments(copy: &Copy) -> Result<CopyArguments, ArgumentError> {
        CopyArguments::new(copy, CopyVerb::Copy, "/w", &StageFiles::new(View::default()))
    }

    #[test]
    fn destinations_are_cleaned_and_directories_told_from_names() {
        let table = [
            ("x", "/w/x", false),
            ("", "/w", true),
            (".", "/w", true),
            ("../x/", "/x", true),
            ("/", "/", true),
            ("/a/.", "/a", true),
            ("//a//b", "/a/b", false),
            ("/a/..", "/", true),
            ("/a/b/..", "/a", false),
        ];
        for (written, path, is_directory) in table {
            assert_eq!(destination("/w", written), (path.to_owned(), is_directory), "{written}");
        }
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        let copy = |change: &dyn Fn(&mut Copy)| {
            let mut copy = Copy { sources: vec!["a".into()], destination: "/x".into(), ..Copy::default() };
            change(&mut copy);
            arguments(&copy)
        };
        assert!(copy(&|_| {}).is_ok());
        assert!(matches!(copy(&|copy| copy.sources.push("b".into())), Err(ArgumentError::NoDirectory(_))));
        let document = HereDocument { name: "d".into(), content: String::new(), expand: false };
        assert!(matches!(copy(&|copy| copy.documents.push(document.clone())), Err(ArgumentError::NoDirectory(_))));
        assert!(matches!(copy(&|copy| copy.chmod = Some("9".into())), Err(ArgumentError::Mode(_))));
        assert!(matches!(copy(&|copy| copy.chown = Some("app".into())), Err(ArgumentError::Owner(_))));
        assert!(matches!(copy(&|copy| copy.sources = vec!["https://a.example/b".into()]), Err(ArgumentError::Url(_))));
        let linked = |copy: &mut Copy| (copy.link, copy.chown) = (true, Some("0:app".into()));
        assert!(matches!(copy(&linked), Err(ArgumentError::LinkedName(_))));
    }
}
