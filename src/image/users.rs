//! Who a `user[:group]` of an image config is, by the image's own `/etc/passwd` and `/etc/group`.
//!
//! The rules are those of runc and containerd; the host's users play no part.

use super::filesystem::{Content, Filesystem, View};
use crate::diagnostic::{Class, Diagnose};

/// The largest ID that runtimes take.
const MAX_ID: u64 = (1 << 31) - 1;

/// A numeric owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User ID.
    pub uid: u64,
    /// Group ID.
    pub gid: u64,
}

/// Why a user cannot be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// The image has no user of this name.
    #[error("the image has no user `{name}`")]
    NoUser {
        /// The name asked for.
        name: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// The image has no group of this name.
    #[error("the image has no group `{name}`")]
    NoGroup {
        /// The name asked for.
        name: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// The number is not between 0 and 2147483647.
    #[error("`{0}` is out of range: user and group IDs end at {MAX_ID}")]
    Range(String),
    /// More than one colon, or nothing on one side of it.
    #[error("`{0}` is not of the form `user`, `uid`, `user:group` or `uid:gid`")]
    Form(String),
}

impl Diagnose for UserError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        let (what, available) = match self {
            Self::NoUser { available, .. } => ("users", available),
            Self::NoGroup { available, .. } => ("groups", available),
            Self::Range(_) => return None,
            Self::Form(_) => return Some("write for example `app`, `1000` or `1000:1000`".into()),
        };
        if available.is_empty() {
            return Some(format!("the image names no {what} at all; write a number, for example `1000:1000`"));
        }
        Some(format!("the image has the {what} {}; or write a number", available.join(", ")))
    }
}

/// The numeric owner that `text`, the `User` of an image config, stands for; empty is root.
///
/// A name must be the image's; a number need not be. Without a group it is the user's own, and 0 for a
/// number that the image does not know.
///
/// # Errors
/// Fails when a name is not the image's, a number is too large, or the form is wrong.
pub fn resolve_user(fs: &Filesystem, text: &str) -> Result<Owner, UserError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let malformed = group.is_some_and(|group| group.is_empty() || group.contains(':') || user.is_empty());
    if malformed || text.contains('\n') {
        return Err(UserError::Form(text.into()));
    }
    let user = if user.is_empty() { "0" } else { user };
    let users = accounts(fs, "etc/passwd");
    let owner = match number(user)? {
        Some(uid) => {
            let own = users.iter().find(|account| account.id == uid);
            Owner { uid, gid: own.and_then(|account| account.group).unwrap_or(0) }
        }
        None => users
            .iter()
            .find(|account| account.name == user)
            .map(|account| Owner { uid: account.id, gid: account.group.unwrap_or(0) })
            .ok_or_else(|| UserError::NoUser { name: user.into(), available: names(&users) })?,
    };
    let Some(group) = group else { return Ok(owner) };
    if let Some(gid) = number(group)? {
        return Ok(Owner { gid, ..owner });
    }
    let groups = accounts(fs, "etc/group");
    match groups.iter().find(|account| account.name == group) {
        Some(account) => Ok(Owner { gid: account.id, ..owner }),
        None => Err(UserError::NoGroup { name: group.into(), available: names(&groups) }),
    }
}

/// Whom `COPY --chown` and the folder of `WORKDIR` belong to, by BuildKit's rules, which are not those of a container's
/// user: a number without a group is its own group's, and a name that the image does not know is root's.
///
/// # Errors
/// Fails when names are to be looked up in files of which the content is not known, or where there is no file at all.
pub fn copy_owner(view: &View, text: &str) -> Result<Owner, OwnerError> {
    let (user, group) = text.split_once(':').map_or((text, ""), |(user, group)| (user, group));
    let mut owner = match id(user) {
        Some(id) => Owner { uid: id, gid: id },
        None => named(view, "etc/passwd", user)?
            .map_or_else(Owner::default, |account| Owner { uid: account.id, gid: account.group.unwrap_or(0) }),
    };
    let has_group = text.contains(':');
    if let Some(id) = id(group) {
        owner.gid = id;
    } else if has_group && group.is_empty() {
        owner.gid = 0;
    } else if has_group && let Some(account) = named(view, "etc/group", group)? {
        owner.gid = account.id;
    }
    Ok(owner)
}

/// Why an owner cannot be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OwnerError {
    /// The file that names it is made by something else first.
    #[error("`/{file}`, which says who `{name}` is, is not known before it is made")]
    Unknown {
        /// The name.
        name: String,
        /// The file.
        file: &'static str,
    },
    /// A name in an image that is empty so far.
    #[error("the image is empty so far and cannot say who `{name}` is")]
    Empty {
        /// The name.
        name: String,
    },
}

impl Diagnose for OwnerError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("write numbers, for example `1000:1000`".into())
    }
}

/// A number as BuildKit reads it; `root` is one.
fn id(text: &str) -> Option<u64> {
    if text == "root" {
        return Some(0);
    }
    text.parse::<u64>().ok().filter(|id| *id <= MAX_ID)
}

fn named(view: &View, file: &'static str, name: &str) -> Result<Option<Account>, OwnerError> {
    if view.is_empty() {
        return Err(OwnerError::Empty { name: name.into() });
    }
    match view.content(file) {
        Content::Known(content) => Ok(accounts_in(content).into_iter().find(|account| account.name == name)),
        Content::Absent => Ok(None),
        Content::Unknown => Err(OwnerError::Unknown { name: name.into(), file }),
    }
}

struct Account {
    name: String,
    id: u64,
    /// The group of a user; a group has its members in this place.
    group: Option<u64>,
}

/// The lines `name:password:id:group...` of a file; lines that are none are passed over, as runtimes do.
fn accounts(fs: &Filesystem, path: &str) -> Vec<Account> {
    accounts_in(fs.content(path).unwrap_or_default())
}

fn accounts_in(content: &[u8]) -> Vec<Account> {
    let text = String::from_utf8_lossy(content);
    let line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let id = fields.nth(1)?.parse().ok().filter(|id| *id <= MAX_ID)?;
        let group = fields.next().and_then(|gid| gid.parse().ok()).filter(|gid| *gid <= MAX_ID);
        Some(Account { name: name.into(), id, group })
    };
    text.lines().map(str::trim).filter(|text| !text.starts_with('#')).filter_map(line).collect()
}

fn names(accounts: &[Account]) -> Vec<String> {
    accounts.iter().map(|account| account.name.clone()).collect()
}

/// `text` as an ID; `None` when it is a name.
fn number(text: &str) -> Result<Option<u64>, UserError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(UserError::Range(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::{Change, LayerIndex, Node, NodeKind};
    use crate::layer::EntryPath;

    fn image(passwd: &str, group: &str) -> Filesystem {
        let file = |path: &str, content: &str| {
            let node = Node::new(NodeKind::File { size: content.len() as u64 }, 0o644, 0, 0);
            (EntryPath::parse(path).unwrap(), Change::Put(node.with_content(content.as_bytes())))
        };
        let layer = LayerIndex::new(vec![file("etc/passwd", passwd), file("etc/group", group)]);
        Filesystem::merge([layer]).unwrap()
    }

    #[test]
    fn users_are_those_of_the_image() {
        let fs = image(
            "root:x:0:0:root:/root:/bin/sh\n# note:x:9:9\nbroken\n\napp:x:1000:1001:App,,,:/app:/bin/sh\nodd:x:7:\n7up:x:8:9::/:\n",
            "root:x:0:\nstaff:x:50:app\n",
        );
        for (text, uid, gid) in [
            ("", 0, 0),
            ("root", 0, 0),
            ("app", 1000, 1001),
            ("1000", 1000, 1001),
            ("4242", 4242, 0),
            ("app:staff", 1000, 50),
            ("app:77", 1000, 77),
            ("12:13", 12, 13),
            ("odd", 7, 0),
            ("7up", 8, 9),
            ("2147483647", 2_147_483_647, 0),
        ] {
            assert_eq!(resolve_user(&fs, text), Ok(Owner { uid, gid }), "{text}");
        }
    }

    #[test]
    fn a_user_that_cannot_be_told_is_refused_with_those_there_are() {
        let fs = image("root:x:0:0::/:\napp:x:1000:1000::/:\n", "root:x:0:\n");
        let error = resolve_user(&fs, "ap").unwrap_err();
        assert_eq!(error.to_string(), "the image has no user `ap`");
        assert_eq!(error.hint().unwrap(), "the image has the users root, app; or write a number");
        assert!(matches!(resolve_user(&fs, "app:wheel"), Err(UserError::NoGroup { .. })));
        for text in ["2147483648", "-1", "99999999999999999999999", "0:4294967296"] {
            assert!(matches!(resolve_user(&fs, text), Err(UserError::Range(_))), "{text}");
        }
        for text in [":", ":0", "0:", "a:b:c", "a\nb"] {
            assert!(matches!(resolve_user(&fs, text), Err(UserError::Form(_))), "{text}");
        }
        let empty = Filesystem::default();
        assert_eq!(resolve_user(&empty, "5"), Ok(Owner { uid: 5, gid: 0 }));
        assert!(resolve_user(&empty, "root").unwrap_err().hint().unwrap().contains("no users at all"));
    }
}
