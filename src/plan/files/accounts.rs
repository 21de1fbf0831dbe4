//! Users and groups that a command adds to a stage: the account files, what tools leave beside them, and the home folder.
//!
//! The result is that of the tools of Debian 12 and 13; where an image has others, the command is not native.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dockerfile::run::{AccountTool, AddGroup, AddMember, AddUser};
use crate::image::accounts::{AccountError, Accounts, Day, Defaults, Groups, NewUser, Range, Table};
use crate::image::filesystem::{Content, Found, View};
use crate::image::users::Owner;
use crate::layer::EntryPath;

use super::home::Home;
use super::placed::{FileContent, PlacedEntry, PlacedKind};
use super::stage::{Draft, NotNative, Placed, StageFiles};

const ROOT: Owner = Owner { uid: 0, gid: 0 };
/// Locks, which stay behind.
const SHADOW_LOCK: (&str, u32) = ("etc/.pwd.lock", 0o600);
const ADDUSER_LOCK: (&str, u32) = ("run/adduser", 0o644);
/// Logs with a record for every user, and the size of one in bytes.
const LOGS: [(&str, u64); 2] = [("var/log/lastlog", 292), ("var/log/faillog", 32)];
/// Where programs are looked for before those of Debian's packages.
const LOCAL: [&str; 2] = ["usr/local/sbin", "usr/local/bin"];

/// What `adduser` is told of in its file that has effects which are not known here, and the value that has none.
const STRANGE: [(&str, &str); 14] = [
    ("USERGROUPS", "yes"),
    ("USERS_GID", ""),
    ("USERS_GROUP", "users"),
    ("GROUPHOMES", "no"),
    ("LETTERHOMES", "no"),
    ("QUOTAUSER", ""),
    ("SETGID_HOME", "no"),
    ("ADD_EXTRA_GROUPS", "0"),
    ("UID_POOL", ""),
    ("GID_POOL", ""),
    ("SKEL", "/etc/skel"),
    ("SKEL_IGNORE_REGEX", r"\.(dpkg|ucf)-(old|new|dist|save)$"),
    ("NAME_REGEX", r"^[a-z][-a-z0-9_]*\$?$"),
    ("SYS_NAME_REGEX", r"^[a-z_][-a-z0-9_]*\$?$"),
];

impl From<AccountError> for NotNative {
    fn from(error: AccountError) -> Self {
        Self::because(error.to_string())
    }
}

impl StageFiles {
    /// `useradd` and `adduser`, on `day`; without one, on the last day on which a password of the image was changed.
    ///
    /// # Errors
    /// Fails when the tool would, when the image has other tools than those that are known, or a file is not known.
    pub fn add_user(&self, user: &AddUser, day: Option<Day>) -> Result<Placed, NotNative> {
        let mut change = Change::of(self, user.tool, "useradd")?;
        let day = day
            .or_else(|| change.accounts.last_day())
            .ok_or_else(|| NotNative::because("no time says which day `/etc/shadow` is to note"))?;
        let home = match user.tool {
            AccountTool::Shadow => change.useradd(user, day)?,
            AccountTool::Adduser | AccountTool::Busybox if user.system => change.adduser_system(user, day)?,
            AccountTool::Adduser | AccountTool::Busybox => change.adduser(user, day)?,
        };
        if let Some(home) = home {
            home.make(&mut change.draft, self)?;
        }
        change.finish()
    }

    /// `groupadd` and `addgroup`.
    ///
    /// # Errors
    /// As [`StageFiles::add_user`].
    pub fn add_group(&self, group: &AddGroup) -> Result<Placed, NotNative> {
        let mut change = Change::of(self, group.tool, "groupadd")?;
        if group.may_exist && change.accounts.has(Table::Group, &group.name) {
            return Ok(change.draft.finish());
        }
        let gid = match group.gid {
            Some(gid) if group.non_unique || !change.accounts.is_taken(Table::Group, gid) => gid,
            Some(gid) => return Err(AccountError::Taken(gid).into()),
            None if group.tool == AccountTool::Shadow => {
                change.accounts.next(Table::Group, change.login_range("GID", group.system)?, group.system)?
            }
            None => change.accounts.first_free(&[Table::Group], change.adduser_range("GID", group.system)?)?,
        };
        change.accounts.add_group(&group.name, gid)?;
        change.finish()
    }

    /// `adduser USER GROUP`.
    ///
    /// # Errors
    /// As [`StageFiles::add_user`].
    pub fn add_member(&self, member: &AddMember) -> Result<Placed, NotNative> {
        let mut change = Change::of(self, AccountTool::Adduser, "usermod")?;
        let before = change.accounts.clone();
        change.accounts.add_member(&member.user, &member.group)?;
        if change.accounts == before {
            return Ok(change.draft.finish());
        }
        change.finish()
    }
}

/// What a command does, so far.
struct Change<'a> {
    files: &'a StageFiles,
    draft: Draft,
    accounts: Accounts,
    tool: AccountTool,
    /// `/etc/login.defs`.
    login: Defaults,
    /// `/etc/adduser.conf`.
    adduser: Defaults,
    debian: Debian,
}

/// A release whose tools are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Debian {
    Bookworm,
    Trixie,
}

impl<'a> Change<'a> {
    fn of(files: &'a StageFiles, tool: AccountTool, program: &str) -> Result<Self, NotNative> {
        let debian = known_tools(files.view(), tool, program)?;
        let mut texts = BTreeMap::new();
        for table in Table::ALL {
            if files.view().find(table.path().as_bytes()) != Found::Absent {
                texts.insert(table, text(files.view(), table.path())?);
            }
        }
        let adduser = match files.view().content("etc/adduser.conf") {
            Content::Absent => Defaults::default(),
            _ => Defaults::of_assignments(&text(files.view(), "etc/adduser.conf")?),
        };
        if tool != AccountTool::Shadow {
            let strange = |(name, plain): &&(&str, &str)| adduser.text(name).is_some_and(|value| value != *plain);
            if let Some((name, _)) = STRANGE.iter().find(strange) {
                return Err(NotNative::because(format!("`/etc/adduser.conf` sets `{name}`")));
            }
        }
        Ok(Self {
            files,
            draft: Draft::on(files),
            accounts: Accounts::new(&texts)?,
            tool,
            login: Defaults::of_words(&text(files.view(), "etc/login.defs")?),
            adduser,
            debian,
        })
    }

    /// From which IDs `useradd` and `groupadd` choose; `kind` is `UID` or `GID`.
    fn login_range(&self, kind: &str, system: bool) -> Result<Range, AccountError> {
        let (least, most, system_least, system_most) = match kind {
            "UID" => ("UID_MIN", "UID_MAX", "SYS_UID_MIN", "SYS_UID_MAX"),
            _ => ("GID_MIN", "GID_MAX", "SYS_GID_MIN", "SYS_GID_MAX"),
        };
        let plain = self.login.range((least, 1000), (most, 60000))?;
        match system {
            true => self.login.range((system_least, 101), (system_most, plain.first.saturating_sub(1))),
            false => Ok(plain),
        }
    }

    /// From which IDs `adduser` and `addgroup` choose.
    fn adduser_range(&self, kind: &str, system: bool) -> Result<Range, AccountError> {
        match (kind, system) {
            ("UID", true) => self.adduser.range(("FIRST_SYSTEM_UID", 100), ("LAST_SYSTEM_UID", 999)),
            ("UID", false) => self.adduser.range(("FIRST_UID", 1000), ("LAST_UID", 59999)),
            (_, true) => self.adduser.range(("FIRST_SYSTEM_GID", 100), ("LAST_SYSTEM_GID", 999)),
            (_, false) => self.adduser.range(("FIRST_GID", 1000), ("LAST_GID", 59999)),
        }
    }

    /// `useradd`; gives the home folder where one is made.
    fn useradd(&mut self, user: &AddUser, day: Day) -> Result<Option<Home>, NotNative> {
        let defaults = useradd_defaults(self.files.view())?;
        let uid = match user.uid {
            Some(uid) if user.non_unique || !self.accounts.is_taken(Table::Passwd, uid) => uid,
            Some(uid) => return Err(AccountError::Taken(uid).into()),
            None => self.accounts.next(Table::Passwd, self.login_range("UID", user.system)?, user.system)?,
        };
        let is_new = user.own_group.unwrap_or(user.group.is_none() && self.login.is_yes("USERGROUPS_ENAB"));
        let login = match &user.group {
            Some(group) => self.accounts.group(group)?.0,
            None if is_new => self.own_gid(uid, user.system)?,
            None => defaults.number("GROUP")?.unwrap_or(100),
        };
        let further = user.groups.iter().map(|group| self.accounts.group(group).map(|(_, name)| name));
        let groups = Groups { login, is_new, further: further.collect::<Result<_, _>>()? };
        let home = user.home.clone().unwrap_or_else(|| {
            format!("{}/{}", defaults.text("HOME").unwrap_or("/home").trim_end_matches('/'), user.name)
        });
        let shell = user.shell.clone().or_else(|| defaults.text("SHELL").map(str::to_owned));
        let shell = shell.ok_or_else(|| NotNative::because("`/etc/default/useradd` names no shell"))?;
        let made = NewUser {
            comment: user.comment.clone().unwrap_or_default(),
            home: home.clone(),
            shell,
            ..self.new_user(user, uid, groups, day)?
        };
        self.put_user(&made, user.no_log_init)?;
        let is_made = user.creates_home.unwrap_or(!user.system && self.login.is_yes("CREATE_HOME"));
        let mask = self.login.number("UMASK")?.unwrap_or(0o022);
        let mode = self.login.number("HOME_MODE")?.unwrap_or(0o777 & !mask);
        let owner = Owner { uid: uid.into(), gid: login.into() };
        Ok(is_made.then_some(Home { path: home, mode, owner, skeleton: true, leaves_out: &[] }))
    }

    /// The ID of a new user's own group: that of the user, where it lies among those of groups and is free.
    fn own_gid(&self, uid: u32, system: bool) -> Result<u32, AccountError> {
        let range = self.login_range("GID", system)?;
        let is_free = (range.first..=range.last).contains(&uid) && !self.accounts.is_taken(Table::Group, uid);
        if is_free { Ok(uid) } else { self.accounts.next(Table::Group, range, system) }
    }

    /// What `useradd` makes of every user.
    fn new_user(&self, user: &AddUser, uid: u32, groups: Groups, day: Day) -> Result<NewUser, AccountError> {
        let age =
            |name| Ok(self.login.number(name)?.filter(|_| !user.system).map_or_else(String::new, |n| n.to_string()));
        let range = self.login_range("UID", false)?;
        let plain = [("SUB_UID_MIN", 100_000), ("SUB_UID_MAX", 600_100_000), ("SUB_UID_COUNT", 65536)];
        let plain =
            plain.into_iter().chain([("SUB_GID_MIN", 100_000), ("SUB_GID_MAX", 600_100_000), ("SUB_GID_COUNT", 65536)]);
        for (name, value) in plain {
            if let Some(other) = self.login.number(name)?.filter(|number| *number != value) {
                return Err(AccountError::Default { name, value: other.to_string() });
            }
        }
        Ok(NewUser {
            name: user.name.clone(),
            uid,
            groups,
            comment: String::new(),
            home: String::new(),
            shell: String::new(),
            day,
            ages: [age("PASS_MIN_DAYS")?, age("PASS_MAX_DAYS")?, age("PASS_WARN_AGE")?],
            subordinate: !user.system && (range.first..=range.last).contains(&uid),
        })
    }

    fn put_user(&mut self, user: &NewUser, no_logs: bool) -> Result<(), NotNative> {
        self.accounts.add_user(user)?;
        let reset = LOGS.iter().find(|(log, record)| {
            let has_record = |size: u64| size > u64::from(user.uid) * record;
            match self.files.view().reach(log, true).map(|reached| reached.found) {
                Ok(Found::Known(node)) => match node.kind {
                    crate::image::filesystem::NodeKind::File { size } => has_record(size),
                    _ => true,
                },
                Ok(Found::Absent) => false,
                Ok(Found::Unknown) | Err(_) => true,
            }
        });
        match reset {
            Some((log, _)) if !no_logs => Err(NotNative::because(format!("`/{log}` may have a record of the user"))),
            _ => Ok(()),
        }
    }

    /// `adduser --system`.
    fn adduser_system(&mut self, user: &AddUser, day: Day) -> Result<Option<Home>, NotNative> {
        let own = user.own_group == Some(true);
        let range = self.adduser_range("UID", true)?;
        let uid = match user.uid {
            Some(uid) if self.accounts.is_taken(Table::Passwd, uid) => return Err(AccountError::Taken(uid).into()),
            Some(uid) => uid,
            None => self.accounts.first_free(&[Table::Passwd], range)?,
        };
        let login = match (&user.group, user.uid) {
            (Some(group), _) => self.accounts.group(group)?.0,
            (None, _) if !own => self.accounts.group("nogroup")?.0,
            (None, Some(uid)) => uid,
            (None, None) => self.accounts.first_free(&[Table::Group], self.adduser_range("GID", true)?)?,
        };
        if own && user.group.is_none() {
            if self.accounts.is_taken(Table::Group, login) {
                return Err(AccountError::Taken(login).into());
            }
            self.accounts.add_group(&user.name, login)?;
        }
        let home = user.home.clone().unwrap_or_else(|| "/nonexistent".to_owned());
        let shell = user.shell.clone().filter(|shell| !shell.is_empty());
        self.by_adduser(user, (uid, login), &home, shell.unwrap_or_else(|| "/usr/sbin/nologin".to_owned()), day)?;
        if let Some(comment) = &user.comment {
            self.change_finger(&user.name, comment)?;
        }
        let mode = self.adduser.number("SYS_DIR_MODE")?.unwrap_or(0o755);
        Ok(self.adduser_home(user, home, (mode & 0o7777, false), Owner { uid: uid.into(), gid: login.into() }))
    }

    /// `adduser` of a user who logs in.
    fn adduser(&mut self, user: &AddUser, day: Day) -> Result<Option<Home>, NotNative> {
        let Some(comment) = &user.comment else { return Err(NotNative::because("it asks for the user's name")) };
        let range = self.adduser_range("UID", false)?;
        let is_named = user.group.as_ref().is_some_and(|group| group.parse::<u32>().is_err());
        let uid = match user.uid {
            Some(uid) if self.accounts.is_taken(Table::Passwd, uid) => return Err(AccountError::Taken(uid).into()),
            Some(uid) => uid,
            None if is_named => self.accounts.first_free(&[Table::Passwd], range)?,
            None => self.accounts.first_free(&[Table::Passwd, Table::Group], range)?,
        };
        let login = match &user.group {
            Some(group) => self.accounts.group(group)?.0,
            None if self.accounts.is_taken(Table::Group, uid) => return Err(AccountError::Taken(uid).into()),
            None => {
                self.accounts.add_group(&user.name, uid)?;
                uid
            }
        };
        if self.login.is_yes("CREATE_HOME") {
            return Err(NotNative::because("`/etc/login.defs` sets `CREATE_HOME`"));
        }
        let homes = self.adduser.text("DHOME").unwrap_or("/home").trim_end_matches('/');
        let home = user.home.clone().unwrap_or_else(|| format!("{homes}/{}", user.name));
        let given = user.shell.clone().filter(|shell| !shell.is_empty());
        let shell = given.unwrap_or_else(|| match user.password {
            crate::dockerfile::run::Password::NoLogin => "/usr/sbin/nologin".to_owned(),
            _ => self.adduser.text("DSHELL").unwrap_or("/bin/bash").to_owned(),
        });
        self.by_adduser(user, (uid, login), &home, shell, day)?;
        self.change_finger(&user.name, comment)?;
        if self.accounts.has(Table::Group, "users") {
            self.accounts.add_member(&user.name, "users")?;
        }
        let mode = self.adduser.number("DIR_MODE")?.unwrap_or(0o700);
        Ok(self.adduser_home(user, home, (mode & 0o7777, true), Owner { uid: uid.into(), gid: login.into() }))
    }

    /// The `useradd` that `adduser` runs.
    fn by_adduser(
        &mut self,
        user: &AddUser,
        (uid, login): (u32, u32),
        home: &str,
        shell: String,
        day: Day,
    ) -> Result<(), NotNative> {
        let groups = Groups { login, is_new: false, further: Vec::new() };
        let made = NewUser { home: home.to_owned(), shell, ..self.new_user(user, uid, groups, day)? };
        useradd_defaults(self.files.view())?;
        self.put_user(&made, false)
    }

    /// The comment as `adduser` has it set: as it is, or by `chfn` in parts between commas, of which there are four.
    fn change_finger(&mut self, user: &str, comment: &str) -> Result<(), NotNative> {
        if self.debian == Debian::Trixie {
            return Ok(self.accounts.set_comment(user, comment)?);
        }
        let parts: Vec<&str> = comment.trim_end_matches(',').split(',').collect();
        let is_plain = comment.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=' && byte != b'"');
        let [name, rest @ ..] = parts.as_slice() else { return Ok(()) };
        if !is_plain || rest.len() > 1 || parts.iter().any(|part| part.trim() != *part) {
            return Err(NotNative::because("its comment has more than a name and a room"));
        }
        let room = rest.first().copied().unwrap_or_default();
        Ok(self.accounts.set_comment(user, &format!("{name},{room},,"))?)
    }

    fn adduser_home(&self, user: &AddUser, path: String, (mode, skeleton): (u32, bool), owner: Owner) -> Option<Home> {
        let nowhere = path == "/nonexistent" || path.starts_with("/nonexistent/");
        let is_made = user.creates_home != Some(false) && !nowhere;
        is_made.then_some(Home { path, mode, owner, skeleton, leaves_out: &[".dpkg-", ".ucf-"] })
    }

    /// The layer: files that changed, their backups, and locks.
    fn finish(mut self) -> Result<Placed, NotNative> {
        for table in Table::ALL {
            let (Some(backup), Some(now)) = (self.accounts.backup(table), self.accounts.text(table)) else { continue };
            let path = table.path();
            let Found::Known(node) = self.files.view().find(path.as_bytes()) else {
                return Err(NotNative::unknown(path.as_bytes()));
            };
            let (mode, owner) = (node.mode, Owner { uid: node.uid, gid: node.gid });
            self.draft.write_text(entry_path(&format!("{path}-"))?, backup.as_bytes(), mode, owner);
            self.draft.write_text(entry_path(path)?, now.as_bytes(), mode, owner);
        }
        let adduser = (self.tool != AccountTool::Shadow).then_some(ADDUSER_LOCK);
        for (path, mode) in adduser.into_iter().chain([SHADOW_LOCK]) {
            match self.files.view().find(path.as_bytes()) {
                Found::Known(_) => {}
                Found::Absent => {
                    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
                    if !self.files.view().find(above.as_bytes()).node().is_some_and(|node| node.is_directory()) {
                        return Err(NotNative::because(format!("`/{above}` is no directory")));
                    }
                    self.draft.write_text(entry_path(path)?, b"", mode, ROOT);
                }
                Found::Unknown => return Err(NotNative::unknown(path.as_bytes())),
            }
        }
        Ok(self.draft.finish())
    }
}

impl Draft {
    /// Places a file with this content, which later instructions see where a [`View`] keeps such files.
    pub fn write_text(&mut self, path: EntryPath, bytes: &[u8], mode: u32, owner: Owner) {
        let size = bytes.len() as u64;
        let bytes: Arc<[u8]> = bytes.into();
        let kept = View::keeps(&path, size).then(|| Arc::clone(&bytes));
        let kind = PlacedKind::File { size, content: FileContent::Text(bytes) };
        self.put(PlacedEntry { path, kind, mode, owner }, kept);
    }
}

/// Which tools an image has; fails where they are not those whose results are known.
fn known_tools(view: &View, tool: AccountTool, program: &str) -> Result<Debian, NotNative> {
    if tool == AccountTool::Busybox {
        return Err(NotNative::because("it is spelt for busybox, whose accounts are not added here"));
    }
    let release = text(view, "etc/os-release")?;
    let release = Defaults::of_assignments(&release);
    let debian = match (release.text("ID"), release.text("VERSION_ID")) {
        (Some("debian"), Some("12")) => Debian::Bookworm,
        (Some("debian"), Some("13")) => Debian::Trixie,
        _ => return Err(NotNative::because("the image's tools for accounts are not those of Debian 12 or 13")),
    };
    let programs = [Some(program), (tool != AccountTool::Shadow).then_some("adduser")];
    for program in programs.into_iter().flatten() {
        let at = format!("usr/sbin/{program}");
        if !view.find(at.as_bytes()).node().is_some_and(|node| node.is_file() && node.mode & 0o111 != 0) {
            return Err(NotNative::because(format!("the image has no `/{at}`")));
        }
    }
    for name in ["useradd", "groupadd", "usermod", "adduser", "addgroup", "adduser.local"] {
        for folder in LOCAL {
            let at = format!("{folder}/{name}");
            if view.find(at.as_bytes()) != Found::Absent {
                return Err(NotNative::because(format!("there may be `/{at}`, which is not Debian's")));
            }
        }
    }
    Ok(debian)
}

/// `/etc/default/useradd`, of which some values have effects that are not known here.
fn useradd_defaults(view: &View) -> Result<Defaults, NotNative> {
    let defaults = match view.content("etc/default/useradd") {
        Content::Absent => return Ok(Defaults::default()),
        _ => Defaults::of_assignments(&text(view, "etc/default/useradd")?),
    };
    let plain = [("INACTIVE", "-1"), ("EXPIRE", ""), ("SKEL", "/etc/skel"), ("CREATE_MAIL_SPOOL", "no")];
    match plain.iter().find(|(name, plain)| defaults.text(name).is_some_and(|value| value != *plain)) {
        Some((name, _)) => Err(NotNative::because(format!("`/etc/default/useradd` sets `{name}`"))),
        None => Ok(defaults),
    }
}

/// The content of a file that has to be there.
fn text(view: &View, path: &str) -> Result<String, NotNative> {
    match view.content(path) {
        Content::Known(bytes) => String::from_utf8(bytes.to_vec())
            .map_err(|_| NotNative::because(format!("`/{path}` is not written in UTF-8"))),
        Content::Absent => Err(NotNative::because(format!("the image has no `/{path}`"))),
        Content::Unknown => Err(NotNative::because(format!("what `/{path}` holds is not known"))),
    }
}

pub(super) fn entry_path(path: &str) -> Result<EntryPath, NotNative> {
    EntryPath::parse(path).map_err(|error| NotNative::because(error.to_string()))
}

#[cfg(test)]
mod tests;
