//! Users and groups that are added: `useradd` and `groupadd`, and the `adduser` and `addgroup` of Debian and busybox.
//!
//! Which of the two `adduser` an image has, which IDs are free, and what its files of defaults say, is not known here.

use super::options::{self, Given, Known, switch, value};
use super::step::RunStep;

/// A user that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddUser {
    /// The program, whose defaults count.
    pub tool: AccountTool,
    /// The name.
    pub name: String,
    /// The ID; `None` is the next that is free.
    pub uid: Option<u32>,
    /// The login group, a name or a number; with `own_group` its number.
    pub group: Option<String>,
    /// Further groups.
    pub groups: Vec<String>,
    /// Whether a group with the same name is added; `None` is the tool's default.
    pub own_group: Option<bool>,
    /// The home folder; `None` is the tool's default.
    pub home: Option<String>,
    /// Whether the home folder is made; `None` is the tool's default.
    pub creates_home: Option<bool>,
    /// The login shell; `None` is the tool's default.
    pub shell: Option<String>,
    /// The comment (GECOS).
    pub comment: Option<String>,
    /// Whether the ID is one of the system's.
    pub system: bool,
    /// How the account is kept from being logged in to.
    pub password: Password,
    /// Whether another user may have the ID.
    pub non_unique: bool,
    /// Whether no entry is made in `lastlog` and `faillog`.
    pub no_log_init: bool,
}

/// A group that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddGroup {
    /// The program, whose defaults count.
    pub tool: AccountTool,
    /// The name.
    pub name: String,
    /// The ID; `None` is the next that is free.
    pub gid: Option<u32>,
    /// Whether the ID is one of the system's.
    pub system: bool,
    /// Whether the group may exist (`groupadd -f`).
    pub may_exist: bool,
    /// Whether another group may have the ID.
    pub non_unique: bool,
}

/// A user that becomes a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddMember {
    /// The user.
    pub user: String,
    /// The group.
    pub group: String,
}

/// A program that adds users and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountTool {
    /// `useradd` and `groupadd`.
    Shadow,
    /// `adduser` and `addgroup`, spelt as both Debian's and busybox's take it, or Debian's alone.
    Adduser,
    /// `adduser` and `addgroup` with options that busybox alone has.
    Busybox,
}

/// What is put in the place of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// What the tool puts there for an account without one.
    Locked,
    /// Debian's `--disabled-password`, busybox's `-D`.
    Disabled,
    /// Debian's `--disabled-login`.
    NoLogin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Idle,
    Uid,
    Gid,
    Group,
    Groups,
    OwnGroup,
    NoOwnGroup,
    Home,
    CreateHome,
    NoCreateHome,
    Shell,
    Comment,
    System,
    DisabledPassword,
    DisabledLogin,
    NonUnique,
    NoLogInit,
    MayExist,
    /// A spelling that busybox alone has stands here.
    Busybox(&'static Meaning),
}

use Meaning::{
    Busybox, Comment, CreateHome, DisabledLogin, DisabledPassword, Gid, Group, Groups, Home, Idle, MayExist,
    NoCreateHome, NoLogInit, NoOwnGroup, NonUnique, OwnGroup, Shell, System, Uid,
};

const USERADD: &[Known<Meaning>] = &[
    value(&["-u", "--uid"], Uid),
    value(&["-g", "--gid"], Group),
    value(&["-G", "--groups"], Groups),
    value(&["-d", "--home-dir", "--home"], Home),
    switch(&["-m", "--create-home"], CreateHome),
    switch(&["-M", "--no-create-home"], NoCreateHome),
    value(&["-s", "--shell"], Shell),
    value(&["-c", "--comment"], Comment),
    switch(&["-r", "--system"], System),
    switch(&["-U", "--user-group"], OwnGroup),
    switch(&["-N", "--no-user-group"], NoOwnGroup),
    switch(&["-o", "--non-unique"], NonUnique),
    switch(&["-l", "--no-log-init"], NoLogInit),
];

const GROUPADD: &[Known<Meaning>] = &[
    value(&["-g", "--gid"], Gid),
    switch(&["-r", "--system"], System),
    switch(&["-f", "--force"], MayExist),
    switch(&["-o", "--non-unique"], NonUnique),
];

const ADDUSER: &[Known<Meaning>] = &[
    value(&["--uid"], Uid),
    value(&["--gid"], Gid),
    value(&["--ingroup"], Group),
    switch(&["--group"], OwnGroup),
    value(&["--home"], Home),
    switch(&["--no-create-home"], NoCreateHome),
    value(&["--shell"], Shell),
    value(&["--gecos", "--comment"], Comment),
    switch(&["--system"], System),
    switch(&["--disabled-password"], DisabledPassword),
    switch(&["--disabled-login"], DisabledLogin),
    switch(&["--quiet", "-q"], Idle),
    value(&["-u"], Busybox(&Uid)),
    value(&["-G"], Busybox(&Group)),
    value(&["-h"], Busybox(&Home)),
    switch(&["-H"], Busybox(&NoCreateHome)),
    value(&["-s"], Busybox(&Shell)),
    value(&["-g"], Busybox(&Comment)),
    switch(&["-S"], Busybox(&System)),
    switch(&["-D"], Busybox(&DisabledPassword)),
];

const ADDGROUP: &[Known<Meaning>] = &[
    value(&["--gid"], Gid),
    switch(&["--system"], System),
    switch(&["--quiet", "-q"], Idle),
    value(&["-g"], Busybox(&Gid)),
    switch(&["-S"], Busybox(&System)),
];

/// Reads the command `name`; `None` where it is none of these.
pub(super) fn read(name: &str, words: &[String]) -> Option<Result<RunStep, String>> {
    let step = match name {
        "useradd" => useradd(words),
        "groupadd" => groupadd(words),
        "adduser" => adduser(words),
        "addgroup" => addgroup(words),
        _ => return None,
    };
    Some(step)
}

/// What was given, with busybox's spellings made equal to the others, and whether there was one.
fn given(words: &[String], table: &'static [Known<Meaning>]) -> Result<(Given<Meaning>, AccountTool), String> {
    let mut given = options::read(words, &[table])?;
    let mut tool = AccountTool::Adduser;
    for (meaning, _) in &mut given.options {
        if let Busybox(plain) = *meaning {
            tool = AccountTool::Busybox;
            *meaning = *plain;
        }
    }
    Ok((given, tool))
}

fn useradd(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[USERADD])?;
    let name = only(&given.operands)?;
    let groups = given.last(Groups).map(|groups| groups.split(',').map(account).collect()).transpose()?;
    let group = given.last(Group).map(account).transpose()?;
    let own_group = one_of(&given, OwnGroup, NoOwnGroup)?;
    if group.is_some() && own_group == Some(true) {
        return Err("`-g` and `-U` exclude each other".into());
    }
    let user = AddUser {
        group,
        groups: groups.unwrap_or_default(),
        own_group,
        creates_home: one_of(&given, CreateHome, NoCreateHome)?,
        non_unique: given.has(NonUnique),
        no_log_init: given.has(NoLogInit),
        ..user(AccountTool::Shadow, name, &given)?
    };
    match user.non_unique && user.uid.is_none() {
        true => Err("`-o` wants `-u`".into()),
        false => Ok(RunStep::AddUser(Box::new(user))),
    }
}

fn adduser(words: &[String]) -> Result<RunStep, String> {
    let (given, tool) = given(words, ADDUSER)?;
    if let ([user, group], true) = (given.operands.as_slice(), given.options.iter().all(|(given, _)| *given == Idle)) {
        return Ok(RunStep::AddMember(AddMember { user: account(user)?, group: account(group)? }));
    }
    let name = only(&given.operands)?;
    let is_system = given.has(System);
    if given.has(OwnGroup) && !is_system {
        return group(tool, name, &given);
    }
    let password = match (given.has(DisabledPassword), given.has(DisabledLogin)) {
        (true, true) => return Err("its options exclude each other".into()),
        (true, false) => Password::Disabled,
        (false, true) => Password::NoLogin,
        (false, false) if is_system => Password::Locked,
        (false, false) => return Err("it asks for a password".into()),
    };
    let ingroup = given.last(Group).map(account).transpose()?;
    let gid = given.last(Gid).map(|gid| number(gid).map(|gid| gid.to_string())).transpose()?;
    if ingroup.is_some() && (gid.is_some() || given.has(OwnGroup)) {
        return Err("it names several login groups".into());
    }
    Ok(RunStep::AddUser(Box::new(AddUser {
        group: ingroup.or(gid),
        own_group: given.has(OwnGroup).then_some(true),
        creates_home: given.has(NoCreateHome).then_some(false),
        password,
        ..user(tool, name, &given)?
    })))
}

/// What all tools say of a user in the same way.
fn user(tool: AccountTool, name: String, given: &Given<Meaning>) -> Result<AddUser, String> {
    Ok(AddUser {
        tool,
        name,
        uid: given.last(Uid).map(number).transpose()?,
        group: None,
        groups: Vec::new(),
        own_group: None,
        home: given.last(Home).map(absolute).transpose()?,
        creates_home: None,
        shell: given.last(Shell).map(shell).transpose()?,
        comment: given.last(Comment).map(comment).transpose()?,
        system: given.has(System),
        password: Password::Locked,
        non_unique: false,
        no_log_init: false,
    })
}

fn groupadd(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[GROUPADD])?;
    group(AccountTool::Shadow, only(&given.operands)?, &given)
}

fn addgroup(words: &[String]) -> Result<RunStep, String> {
    let (given, tool) = given(words, ADDGROUP)?;
    if let ([user, group], true) = (given.operands.as_slice(), given.options.iter().all(|(given, _)| *given == Idle)) {
        return Ok(RunStep::AddMember(AddMember { user: account(user)?, group: account(group)? }));
    }
    group(tool, only(&given.operands)?, &given)
}

fn group(tool: AccountTool, name: String, given: &Given<Meaning>) -> Result<RunStep, String> {
    let understood = [Gid, System, MayExist, NonUnique, OwnGroup, Idle];
    if given.options.iter().any(|(meaning, _)| !understood.contains(meaning)) {
        return Err("its options are those of a user".into());
    }
    let gid = given.last(Gid).map(number).transpose()?;
    let (may_exist, non_unique) = (given.has(MayExist), given.has(NonUnique));
    match non_unique && gid.is_none() {
        true => Err("`-o` wants `-g`".into()),
        false => Ok(RunStep::AddGroup(AddGroup { tool, name, gid, system: given.has(System), may_exist, non_unique })),
    }
}

/// The one name that was given, which every tool takes for one.
fn only(operands: &[String]) -> Result<String, String> {
    let [name] = operands else { return Err("it does not name one account".into()) };
    let begins = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    match name.starts_with(begins) && name.chars().all(is_part) && name.len() <= 32 {
        true => Ok(name.clone()),
        false => Err(format!("`{name}` is no name that every tool takes")),
    }
}

/// A name or a number.
fn account(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match !text.is_empty() && !text.starts_with('-') && text.chars().all(is_part) {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is no name of an account")),
    }
}

fn number(text: &str) -> Result<u32, String> {
    let is_plain = text.chars().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or_else(|| format!("`{text}` is no ID"))
}

fn absolute(path: &str) -> Result<String, String> {
    match path.starts_with('/') && !path.contains([':', '\n']) {
        true => Ok(path.to_owned()),
        false => Err(format!("`{path}` is no absolute path")),
    }
}

/// A shell is a path, or nothing.
fn shell(path: &str) -> Result<String, String> {
    if path.is_empty() { Ok(String::new()) } else { absolute(path) }
}

fn comment(text: &str) -> Result<String, String> {
    match text.contains([':', '\n']) {
        true => Err("a comment of an account holds no colon".into()),
        false => Ok(text.to_owned()),
    }
}

/// Whether one of two switches was given.
fn one_of(given: &Given<Meaning>, on: Meaning, off: Meaning) -> Result<Option<bool>, String> {
    match (given.has(on), given.has(off)) {
        (true, true) => Err("its options exclude each other".into()),
        (true, false) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        (false, false) => Ok(None),
    }
}
