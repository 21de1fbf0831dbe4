//! `RUN --mount`: what is laid into the file system while a command runs.
//!
//! Whether a source exists is not looked at.

use super::error::nearest;
use super::expand::{ExpandError, ExpandProblem, Lookup, expand_word};

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "id",
    "sharing",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];
const KINDS: [(&str, MountKind); 5] = [
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];
const SHARINGS: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];

/// One mount. Before expansion, fields that hold a variable are not set yet; `text` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// The flag's value as it was written.
    pub text: String,
    /// Of what kind.
    pub kind: MountKind,
    /// Where it is laid.
    pub target: Option<String>,
    /// What of its source.
    pub source: Option<String>,
    /// A stage or an image.
    pub from: Option<String>,
    /// The name of a cache, a secret or an agent.
    pub id: Option<String>,
    /// The variable that gets a secret; empty for the default name.
    pub env: Option<String>,
    /// The build fails without it.
    pub required: bool,
    /// Not to be written, when it is said; see [`Mount::is_read_only`].
    pub read_only: Option<bool>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<u64>,
    /// The group.
    pub gid: Option<u64>,
    /// How builds at the same time share a cache.
    pub sharing: Option<Sharing>,
    /// The most bytes of a tmpfs.
    pub size: Option<u64>,
}

/// The kind of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A folder that outlives the build.
    Cache,
    /// A folder in memory.
    Tmpfs,
    /// A secret's file or variable.
    Secret,
    /// The socket of an SSH agent.
    Ssh,
}

/// How builds at the same time share a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All write at once.
    Shared,
    /// Each gets one of its own.
    Private,
    /// One after the other.
    Locked,
}

/// Why a text is no mount.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountProblem {
    /// It is empty, or its quotes do not fit.
    #[error("it is not a list of fields")]
    NoFields,
    /// A field without a value.
    #[error("`{0}` has no value")]
    NoValue(String),
    /// A field that does not exist.
    #[error("`{key}` is not a field of a mount")]
    UnknownField {
        /// The field.
        key: String,
        /// The field most like it.
        suggestion: Option<&'static str>,
    },
    /// A value that the field cannot have.
    #[error("`{key}` cannot be `{value}`")]
    Value {
        /// The field.
        key: String,
        /// The value.
        value: String,
        /// The value most like it.
        suggestion: Option<&'static str>,
    },
    /// A field that mounts of this kind do not have; the type must stand before it.
    #[error("`{key}` does not go with a mount of the type `{kind}`")]
    Misplaced {
        /// The field.
        key: &'static str,
        /// The kind.
        kind: &'static str,
    },
    /// A secret without any name.
    #[error("a secret needs an id, a source or a target")]
    SecretWithoutName,
    /// A secret with two names.
    #[error("a secret has either an id or a source")]
    SecretNamedTwice,
    /// A variable where none is expanded.
    #[error("a variable in `from` is not expanded")]
    FromVariable,
}

impl MountProblem {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoFields => "write fields with commas between them, without blanks".to_owned(),
            Self::NoValue(key) => format!("write `{key}=...`"),
            Self::UnknownField { suggestion: Some(known), .. } | Self::Value { suggestion: Some(known), .. } => {
                format!("did you mean `{known}`?")
            }
            Self::Misplaced { .. } => "write `type=...` first, or leave that field out".to_owned(),
            Self::SecretWithoutName => "write `type=secret,id=NAME`".to_owned(),
            Self::SecretNamedTwice => "leave out the source".to_owned(),
            Self::FromVariable => "name a stage: `FROM ${...} AS name` above, and `from=name` here".to_owned(),
            Self::UnknownField { .. } | Self::Value { .. } => return None,
        })
    }
}

impl Mount {
    /// The name of the secret that is mounted: its `id`, else the last part of its target.
    pub fn secret(&self) -> Option<&str> {
        let of_target = self.target.as_deref().and_then(|target| target.rsplit('/').next());
        let id = self.source.as_deref().or(self.id.as_deref()).or(of_target);
        id.filter(|id| self.kind == MountKind::Secret && !id.is_empty())
    }

    /// Whether the command may not write to it.
    pub fn is_read_only(&self) -> bool {
        self.read_only.unwrap_or(!matches!(self.kind, MountKind::Cache | MountKind::Tmpfs))
    }

    /// A mount as it stands in the file: all of it where there are no variables, and else what has none.
    pub(super) fn parse(text: &str, escape: char) -> Result<Self, ExpandError> {
        if !text.contains('$') {
            return Self::expanded(text, escape, &|_| None);
        }
        let failed = |problem| failed(text, problem);
        let mut mount = Self { text: text.to_owned(), ..Self::default() };
        for field in fields(text).ok_or_else(|| failed(MountProblem::NoFields))? {
            let (key, value) = cut(&field);
            let variable = value.and_then(|value| value.find('$').map(|at| at + 1 < value.len()));
            if key == "from" && variable == Some(true) {
                return Err(failed(MountProblem::FromVariable));
            }
            if variable.is_none() {
                // What is wrong here may be right after a type that is a variable; expansion looks at all of it again.
                mount.set(&key, value).ok();
            }
        }
        Ok(mount)
    }

    /// A mount whose values are expanded.
    pub(super) fn expanded(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<Self, ExpandError> {
        let failed = |problem| failed(text, problem);
        let mut mount = Self { text: text.to_owned(), ..Self::default() };
        for field in fields(text).ok_or_else(|| failed(MountProblem::NoFields))? {
            let (key, value) = cut(&field);
            let value = value.map(|value| expand_word(value, escape, lookup)).transpose()?;
            mount.set(&key, value.as_deref()).map_err(failed)?;
        }
        mount.checked().map_err(failed)
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), MountProblem> {
        let is_named = matches!(self.kind, MountKind::Secret | MountKind::Ssh);
        let Some(value) = value else {
            match key {
                "readonly" | "ro" => self.read_only = Some(true),
                "readwrite" | "rw" => self.read_only = Some(false),
                "required" if is_named => self.required = true,
                "required" => return Err(self.misplaced("required")),
                _ => return Err(MountProblem::NoValue(key.to_owned())),
            }
            return Ok(());
        };
        let text = Some(value.to_owned()).filter(|text| !text.is_empty());
        match key {
            "type" => self.kind = one_of(&KINDS, key, value)?,
            "from" => self.from = text,
            "source" | "src" => self.source = text,
            "target" | "dst" | "destination" => self.target = text,
            "readonly" | "ro" => self.read_only = Some(truth(key, value)?),
            "readwrite" | "rw" => self.read_only = Some(!truth(key, value)?),
            "required" if is_named => self.required = truth(key, value)?,
            "required" => return Err(self.misplaced("required")),
            "size" if self.kind == MountKind::Tmpfs => self.size = Some(bytes(value).ok_or_else(|| wrong(key, value))?),
            "size" => return Err(self.misplaced("size")),
            "id" => self.id = text,
            "sharing" => self.sharing = Some(one_of(&SHARINGS, key, value)?),
            "mode" => self.mode = Some(number(key, value, 8)?),
            "uid" => self.uid = Some(number(key, value, 10)?.into()),
            "gid" => self.gid = Some(number(key, value, 10)?.into()),
            "env" => self.env = Some(value.to_owned()),
            _ => {
                return Err(MountProblem::UnknownField { key: key.to_owned(), suggestion: nearest(key, KEYS) });
            }
        }
        Ok(())
    }

    /// What only the whole shows.
    fn checked(self) -> Result<Self, MountProblem> {
        let has_owner = matches!(self.kind, MountKind::Secret | MountKind::Ssh | MountKind::Cache);
        let is_secret = self.kind == MountKind::Secret;
        for (key, is_wrong) in [
            ("mode", self.mode.is_some() && !has_owner),
            ("uid", self.uid.is_some() && !has_owner),
            ("gid", self.gid.is_some() && !has_owner),
            ("from", self.from.is_some() && is_secret),
            ("sharing", self.sharing.is_some() && self.kind != MountKind::Cache),
        ] {
            if is_wrong {
                return Err(self.misplaced(key));
            }
        }
        if is_secret && self.source.is_none() && self.target.is_none() && self.id.is_none() {
            return Err(MountProblem::SecretWithoutName);
        }
        if is_secret && self.source.is_some() && self.id.is_some() {
            return Err(MountProblem::SecretNamedTwice);
        }
        Ok(self)
    }

    fn misplaced(&self, key: &'static str) -> MountProblem {
        let kind = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        MountProblem::Misplaced { key, kind }
    }
}

/// The fields of a mount with another name behind `from`; `None` when that stays.
pub(super) fn renamed(text: &str, rename: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut has_new = false;
    let new = fields(text)?.into_iter().map(|field| {
        let name = match cut(&field) {
            (key, Some(word)) if key == "from" => rename(word),
            _ => None,
        };
        has_new |= name.is_some();
        let field = name.map_or(field, |name| format!("from={name}"));
        if field.contains(['"', ',']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    });
    let new = new.collect::<Vec<_>>().join(",");
    has_new.then_some(new)
}

fn failed(mount: &str, problem: MountProblem) -> ExpandError {
    ExpandError { word: mount.to_owned(), problem: ExpandProblem::Mount(problem) }
}

fn wrong(key: &str, value: &str) -> MountProblem {
    MountProblem::Value { key: key.to_owned(), value: value.to_owned(), suggestion: None }
}

fn one_of<T: Copy>(known: &[(&'static str, T)], key: &str, value: &str) -> Result<T, MountProblem> {
    let lower = value.to_lowercase();
    known.iter().find(|(name, _)| *name == lower).map(|(_, kind)| *kind).ok_or_else(|| MountProblem::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        suggestion: nearest(value, known.iter().map(|(name, _)| *name)),
    })
}

/// The spellings of Go's `strconv.ParseBool`.
fn truth(key: &str, value: &str) -> Result<bool, MountProblem> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(wrong(key, value)),
    }
}

fn number(key: &str, value: &str, radix: u32) -> Result<u32, MountProblem> {
    let digits = Some(value).filter(|value| !value.starts_with('+'));
    digits.and_then(|digits| u32::from_str_radix(digits, radix).ok()).ok_or_else(|| wrong(key, value))
}

/// A size such as `64m`, `1.5GiB` or `100`, in bytes; units are powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')?;
    let (number, unit) = text.split_at(last + 1);
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok().filter(|number| *number >= 0.0)?;
    let unit = unit.to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit.is_empty() || unit == "b" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    if !matches!(unit.get(1..).unwrap_or_default(), "" | "b" | "ib") {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is no less than zero and saturates"
    )]
    Some((number * 1024_f64.powi(power)) as u64)
}

/// Key in lower case, and value, of a field.
fn cut(field: &str) -> (String, Option<&str>) {
    match field.split_once('=') {
        Some((key, value)) => (key.to_lowercase(), Some(value)),
        None => (field.to_lowercase(), None),
    }
}

/// The fields of a line of comma-separated values (RFC 4180, section 2); `None` when it is empty or its quotes do not fit.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut rest = line;
    let mut fields = Vec::new();
    if line.is_empty() {
        return None;
    }
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, after) = rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
            if field.contains('"') {
                return None;
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Some(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut inner = quoted;
        loop {
            let (text, after) = inner.split_once('"')?;
            field.push_str(text);
            match after.strip_prefix('"') {
                Some(after) => {
                    field.push('"');
                    inner = after;
                }
                None => {
                    inner = after;
                    break;
                }
            }
        }
        fields.push(field);
        match inner.strip_prefix(',') {
            Some(after) => rest = after,
            None => return inner.is_empty().then_some(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<Mount, String> {
        let lookup = |name: &str| (name == "ID").then(|| "pip".to_owned());
        Mount::expanded(text, '\\', &lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_are_read_in_all_their_spellings() {
        let mount = expanded("type=cache,target=/c,id=${ID},sharing=locked,uid=1,gid=2,mode=0755,ro=false").unwrap();
        let expected = Mount {
            text: mount.text.clone(),
            kind: MountKind::Cache,
            target: Some("/c".to_owned()),
            id: Some("pip".to_owned()),
            sharing: Some(Sharing::Locked),
            uid: Some(1),
            gid: Some(2),
            mode: Some(0o755),
            read_only: Some(false),
            ..Mount::default()
        };
        assert_eq!(mount, expected);
        let mount = expanded("\"target=/a,\"\"b\"\"\",src=x,from=base,rw").unwrap();
        assert_eq!((mount.target.as_deref(), mount.source.as_deref()), (Some("/a,b"), Some("x")));
        assert!(!mount.is_read_only() && expanded("target=/x").unwrap().is_read_only());
        assert_eq!(expanded("type=tmpfs,target=/x,size=1.5KiB").unwrap().size, Some(1536));
        assert!(expanded("TYPE=Secret,id=s,required,env=").unwrap().required);
    }

    #[test]
    fn what_is_no_mount_is_named() {
        for (text, expected) in [
            ("", "`--mount=`: it is not a list of fields"),
            ("a\"b", "`--mount=a\"b`: it is not a list of fields"),
            ("targat=/x", "`--mount=targat=/x`: `targat` is not a field of a mount"),
            ("target", "`--mount=target`: `target` has no value"),
            ("type=cash", "`--mount=type=cash`: `type` cannot be `cash`"),
            ("required", "`--mount=required`: `required` does not go with a mount of the type `bind`"),
            ("mode=755", "`--mount=mode=755`: `mode` does not go with a mount of the type `bind`"),
            ("type=secret", "`--mount=type=secret`: a secret needs an id, a source or a target"),
            ("type=secret,id=a,src=b", "`--mount=type=secret,id=a,src=b`: a secret has either an id or a source"),
            ("type=tmpfs,size=1x", "`--mount=type=tmpfs,size=1x`: `size` cannot be `1x`"),
            ("type=cache,mode=9", "`--mount=type=cache,mode=9`: `mode` cannot be `9`"),
            ("id='a", "`'a` cannot be expanded: a `'` is not closed"),
        ] {
            assert_eq!(expanded(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn fields_with_variables_wait_for_their_values() {
        let mount = Mount::parse("type=${KIND},target=/x,id=$ID,required", '\\').unwrap();
        assert_eq!((mount.kind, mount.target.as_deref(), mount.id), (MountKind::Bind, Some("/x"), None));
        let error = Mount::parse("from=$BASE,target=/x", '\\').unwrap_err();
        assert_eq!(error.problem, ExpandProblem::Mount(MountProblem::FromVariable));
    }
}
