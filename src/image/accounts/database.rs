//! Lines of the account files, added and changed as Debian's `passwd` package does it (shadow 4.13).
//!
//! A tool that changes a file leaves what it found under the same name with a `-` behind; one that changes none leaves none.

use std::collections::BTreeMap;

use super::Range;

/// How many IDs below a user's own a user without privileges is handed out.
const SUBORDINATE: [(Table, u64, u64, u64); 2] =
    [(Table::Subuid, 100_000, 600_100_000, 65536), (Table::Subgid, 100_000, 600_100_000, 65536)];

/// Why an account cannot be added by its texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// A line, or a file, is not of the plain form.
    #[error("`/{0}` has lines that are not of the plain form")]
    Form(&'static str),
    /// A value in a file of defaults is none that is understood.
    #[error("the default `{name}` is `{value}`")]
    Default {
        /// The name.
        name: &'static str,
        /// The value.
        value: String,
    },
    /// The name is taken.
    #[error("`{0}` exists")]
    Exists(String),
    /// The number is taken.
    #[error("the ID {0} is taken")]
    Taken(u32),
    /// No user or group has the name or number.
    #[error("there is no `{0}`")]
    Missing(String),
    /// All numbers of the range are taken.
    #[error("no ID is free from {} to {}", .0.first, .0.last)]
    NoneFree(Range),
}

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Users.
    Passwd,
    /// Groups.
    Group,
    /// What users log in with.
    Shadow,
    /// What groups are entered with.
    Gshadow,
    /// User IDs that users may map.
    Subuid,
    /// Group IDs that users may map.
    Subgid,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Passwd, Self::Group, Self::Shadow, Self::Gshadow, Self::Subuid, Self::Subgid];

    /// Its path in an image.
    pub fn path(self) -> &'static str {
        match self {
            Self::Passwd => "etc/passwd",
            Self::Group => "etc/group",
            Self::Shadow => "etc/shadow",
            Self::Gshadow => "etc/gshadow",
            Self::Subuid => "etc/subuid",
            Self::Subgid => "etc/subgid",
        }
    }

    /// The number of fields of its lines.
    fn fields(self) -> usize {
        match self {
            Self::Passwd => 7,
            Self::Group | Self::Gshadow => 4,
            Self::Shadow => 9,
            Self::Subuid | Self::Subgid => 3,
        }
    }
}

type Lines = Vec<Vec<String>>;
type Tables = BTreeMap<Table, Lines>;

/// A day, counted from the first of January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub u64);

impl Day {
    /// The day that an RFC 3339 time names.
    pub fn of(time: &str) -> Option<Self> {
        let mut parts = time.get(..10)?.splitn(3, '-').map(|part| part.parse::<u64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // Years that begin in March have their odd day last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let of_years = year * 365 + year / 4 - year / 100 + year / 400;
        Some(Self(of_years + (month * 153 + 2) / 5 + day - 1 - 719_468))
    }
}

/// Which groups a user is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The login group.
    pub login: u32,
    /// Whether it is added, with the user's name.
    pub is_new: bool,
    /// Names of further groups.
    pub further: Vec<String>,
}

/// A user as `useradd` adds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The ID.
    pub uid: u32,
    /// Groups.
    pub groups: Groups,
    /// The comment (GECOS).
    pub comment: String,
    /// The home folder.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// When the password was changed last.
    pub day: Day,
    /// The least and the most days that a password holds, and those of warning; empty for what is not said.
    pub ages: [String; 3],
    /// Whether ranges of subordinate IDs are handed out, where the image has files for them.
    pub subordinate: bool,
}

/// The files, and what tools left of earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    tables: Tables,
    backups: BTreeMap<Table, String>,
}

impl Accounts {
    /// The files of an image; those of subordinate IDs may be missing.
    ///
    /// # Errors
    /// Fails when a file that has to be there is missing, or a line is not of the plain form.
    pub fn new(texts: &BTreeMap<Table, String>) -> Result<Self, AccountError> {
        let mut tables = Tables::new();
        for table in Table::ALL {
            let Some(text) = texts.get(&table) else {
                match table {
                    Table::Subuid | Table::Subgid => continue,
                    _ => return Err(AccountError::Form(table.path())),
                }
            };
            let lines: Lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect();
            let is_plain = |line: &Vec<String>| {
                let begins = line[0].chars().next().is_some_and(|c| !matches!(c, '+' | '-' | '#'));
                begins && line.len() == table.fields()
            };
            if !lines.iter().all(is_plain) || !(text.is_empty() || text.ends_with('\n')) {
                return Err(AccountError::Form(table.path()));
            }
            tables.insert(table, lines);
        }
        Ok(Self { tables, backups: BTreeMap::new() })
    }

    /// The text of a file.
    pub fn text(&self, table: Table) -> Option<String> {
        self.tables.get(&table).map(|lines| text_of(lines))
    }

    /// The last day on which a password was changed.
    pub fn last_day(&self) -> Option<Day> {
        self.lines(Table::Shadow).iter().filter_map(|line| line[2].parse().ok()).max().map(Day)
    }

    /// What the last tool that changed the file found; `None` when none did.
    pub fn backup(&self, table: Table) -> Option<&str> {
        self.backups.get(&table).map(String::as_str)
    }

    fn lines(&self, table: Table) -> &[Vec<String>] {
        self.tables.get(&table).map_or(&[], Vec::as_slice)
    }

    /// Whether a user or group of this name is there.
    pub fn has(&self, table: Table, name: &str) -> bool {
        self.lines(table).iter().any(|line| line[0] == name)
    }

    fn ids(&self, table: Table) -> impl Iterator<Item = u32> + use<'_> {
        self.lines(table).iter().filter_map(|line| line.get(2)?.parse().ok())
    }

    /// Whether a user or group has this ID.
    pub fn is_taken(&self, table: Table, id: u32) -> bool {
        self.ids(table).any(|taken| taken == id)
    }

    /// The ID of a group that is named by its name or number, and its name.
    ///
    /// # Errors
    /// Fails when there is none.
    pub fn group(&self, text: &str) -> Result<(u32, String), AccountError> {
        let number = text.parse::<u32>().ok();
        let is_it = |line: &&Vec<String>| match number {
            Some(_) => line[2].parse().ok() == number,
            None => line[0] == text,
        };
        let missing = || AccountError::Missing(text.to_owned());
        let line = self.lines(Table::Group).iter().find(is_it).ok_or_else(missing)?;
        Ok((line[2].parse().map_err(|_| AccountError::Form(Table::Group.path()))?, line[0].clone()))
    }

    /// The next ID as `useradd` and `groupadd` choose it: one beyond the last that is taken, upwards, or downwards for the
    /// system's; else the first that is free.
    ///
    /// # Errors
    /// Fails when none is free.
    pub fn next(&self, table: Table, range: Range, system: bool) -> Result<u32, AccountError> {
        let taken = self.ids(table).filter(|id| (range.first..=range.last).contains(id));
        let free = |id: &u32| !self.is_taken(table, *id);
        let found = if system {
            let beyond = taken.min().map_or(Some(range.last), |id| id.checked_sub(1));
            let below = beyond.and_then(|from| (range.first..=from).rev().find(free));
            below.or_else(|| (range.first..=range.last).rev().find(free))
        } else {
            let beyond = taken.max().map_or(Some(range.first), |id| id.checked_add(1));
            let above = beyond.and_then(|from| (from..=range.last).find(free));
            above.or_else(|| (range.first..=range.last).find(free))
        };
        found.ok_or(AccountError::NoneFree(range))
    }

    /// The first ID that none of these tables has, as `adduser` chooses it.
    ///
    /// # Errors
    /// Fails when none is free.
    pub fn first_free(&self, tables: &[Table], range: Range) -> Result<u32, AccountError> {
        let free = |id: &u32| tables.iter().all(|table| !self.is_taken(*table, *id));
        (range.first..=range.last).find(free).ok_or(AccountError::NoneFree(range))
    }

    /// One run of a tool: what it found in each file that it changes stays as that file's backup.
    fn run(&mut self, change: impl FnOnce(&mut Tables) -> Result<(), AccountError>) -> Result<(), AccountError> {
        let mut tables = self.tables.clone();
        change(&mut tables)?;
        for (table, lines) in &tables {
            if self.tables.get(table) != Some(lines) {
                self.backups.insert(*table, text_of(self.lines(*table)));
            }
        }
        self.tables = tables;
        Ok(())
    }

    /// `groupadd -g GID NAME`.
    ///
    /// # Errors
    /// Fails when the name is taken.
    pub fn add_group(&mut self, name: &str, gid: u32) -> Result<(), AccountError> {
        if self.has(Table::Group, name) || self.has(Table::Gshadow, name) {
            return Err(AccountError::Exists(name.to_owned()));
        }
        self.run(|tables| {
            put_group(tables, name, gid);
            Ok(())
        })
    }

    /// `useradd`, without the home folder.
    ///
    /// # Errors
    /// Fails when the name is taken, a group is missing, or no subordinate IDs are left.
    pub fn add_user(&mut self, user: &NewUser) -> Result<(), AccountError> {
        let name = &user.name;
        let taken = [Table::Passwd, Table::Shadow, Table::Subuid, Table::Subgid];
        let groups = [Table::Group, Table::Gshadow];
        let groups = groups.iter().filter(|_| user.groups.is_new);
        if taken.iter().chain(groups).any(|table| self.has(*table, name)) {
            return Err(AccountError::Exists(name.clone()));
        }
        self.run(|tables| {
            let (uid, gid) = (user.uid.to_string(), user.groups.login.to_string());
            push(tables, Table::Passwd, &[name, "x", &uid, &gid, &user.comment, &user.home, &user.shell]);
            let ([least, most, warning], day) = (&user.ages, user.day.0.to_string());
            push(tables, Table::Shadow, &[name, "!", &day, least, most, warning, "", "", ""]);
            if user.groups.is_new {
                put_group(tables, name, user.groups.login);
            }
            user.groups.further.iter().try_for_each(|group| join(tables, name, group))?;
            match user.subordinate {
                true => SUBORDINATE.iter().try_for_each(|of| put_subordinate(tables, name, *of)),
                false => Ok(()),
            }
        })
    }

    /// `chfn`: the user's comment.
    ///
    /// # Errors
    /// Fails when there is no such user.
    pub fn set_comment(&mut self, user: &str, comment: &str) -> Result<(), AccountError> {
        self.run(|tables| {
            let lines = tables.entry(Table::Passwd).or_default();
            let line = lines.iter_mut().find(|line| line[0] == user);
            comment.clone_into(&mut line.ok_or_else(|| AccountError::Missing(user.to_owned()))?[4]);
            Ok(())
        })
    }

    /// `usermod -a -G GROUP USER`: the user becomes the group's last member; who is one stays one.
    ///
    /// # Errors
    /// Fails when there is no such user or group.
    pub fn add_member(&mut self, user: &str, group: &str) -> Result<(), AccountError> {
        if !self.has(Table::Passwd, user) {
            return Err(AccountError::Missing(user.to_owned()));
        }
        self.run(|tables| join(tables, user, group))
    }
}

fn text_of(lines: &[Vec<String>]) -> String {
    lines.iter().map(|line| line.join(":") + "\n").collect()
}

fn push(tables: &mut Tables, table: Table, line: &[&str]) {
    tables.entry(table).or_default().push(line.iter().map(|field| (*field).to_owned()).collect());
}

fn put_group(tables: &mut Tables, name: &str, gid: u32) {
    push(tables, Table::Group, &[name, "x", &gid.to_string(), ""]);
    push(tables, Table::Gshadow, &[name, "!", "", ""]);
}

fn join(tables: &mut Tables, user: &str, group: &str) -> Result<(), AccountError> {
    for table in [Table::Group, Table::Gshadow] {
        let lines = tables.entry(table).or_default();
        let line = lines.iter_mut().find(|line| line[0] == group);
        let members = &mut line.ok_or_else(|| AccountError::Missing(group.to_owned()))?[3];
        if members.is_empty() {
            user.clone_into(members);
        } else if members.split(',').all(|member| member != user) {
            *members = format!("{members},{user}");
        }
    }
    Ok(())
}

/// Hands the lowest range out that is free, where the image has the file.
fn put_subordinate(
    tables: &mut Tables,
    name: &str,
    (table, first, last, count): (Table, u64, u64, u64),
) -> Result<(), AccountError> {
    let Some(lines) = tables.get(&table) else { return Ok(()) };
    let mut low = first;
    let mut before = 0;
    for line in lines {
        let number = |field: &String| field.parse::<u64>().ok().filter(|number| *number <= u64::from(u32::MAX));
        let (Some(from), Some(of)) = (number(&line[1]), number(&line[2])) else {
            return Err(AccountError::Form(table.path()));
        };
        // The tools sort the file; that is not done here.
        if from < before {
            return Err(AccountError::Form(table.path()));
        }
        before = from;
        if from >= low + count {
            break;
        }
        low = low.max(from + of);
    }
    if low + count > last + 1 || before > low {
        return Err(AccountError::Form(table.path()));
    }
    push(tables, table, &[name, &low.to_string(), &count.to_string()]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (time, day) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59Z", Some(11_016)),
            ("2024-03-01T00:00:00Z", Some(19_783)),
            ("2026-11-21", Some(20_778)),
            ("1969-12-31", None),
            ("2026-13-01", None),
            ("0001-01-01T00:00:00Z", None),
            ("yesterday, it was", None),
        ] {
            assert_eq!(Day::of(time).map(|day| day.0), day, "{time}");
        }
    }

    #[test]
    fn the_next_id_lies_beyond_those_that_are_taken() {
        let line = |name: &str, id: u32| format!("{name}:x:{id}:0::/:\n");
        let texts = |passwd: String| {
            let empty = || String::new();
            let all = [Table::Group, Table::Shadow, Table::Gshadow].map(|table| (table, empty()));
            all.into_iter().chain([(Table::Passwd, passwd)]).collect::<BTreeMap<_, _>>()
        };
        let next = |ids: &[u32], first, last, system| {
            let passwd = ids.iter().map(|id| line(&format!("u{id}"), *id)).collect();
            Accounts::new(&texts(passwd)).unwrap().next(Table::Passwd, Range { first, last }, system).ok()
        };
        assert_eq!(next(&[0, 1003, 1001, 65534], 1000, 60000, false), Some(1004));
        assert_eq!(next(&[0, 600, 500], 101, 999, true), Some(499));
        assert_eq!(next(&[12], 10, 12, false), Some(10));
        assert_eq!(next(&[10], 10, 12, true), Some(12));
        assert_eq!(next(&[10, 11], 10, 11, false), None);
        for damaged in ["+::::::\n", "a:x:1\n", "a:x:1:1::/:", "\n"] {
            assert_eq!(Accounts::new(&texts(damaged.into())), Err(AccountError::Form("etc/passwd")), "{damaged}");
        }
    }
}
