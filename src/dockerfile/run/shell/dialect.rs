//! Which shell a script is for, and the switches that it was started with.
//!
//! It knows a shell by its name and looks at no file.

/// The shell of a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Whether it is bash for certain.
    pub(crate) is_bash: bool,
    /// Whether a variable that is not set is an error.
    pub(crate) refuses_unset: bool,
}

const SHELLS: [&str; 4] = ["sh", "bash", "dash", "ash"];
const FOLDERS: [&str; 4] = ["", "/bin/", "/usr/bin/", "/usr/local/bin/"];
const SWITCHES: [&str; 5] = ["errexit", "nounset", "pipefail", "verbose", "xtrace"];

impl Dialect {
    /// The shell that `words`, all but the script, start: `/bin/bash -o pipefail -c`.
    ///
    /// # Errors
    /// Fails with a reason where that shell is not one that scripts are read for.
    pub(crate) fn started_by(words: &[String]) -> Result<Self, String> {
        let Some((program, switches)) = words.split_first() else { return Self::started_by(&default()) };
        let mut dialect = Self::named(program).ok_or_else(|| format!("its shell is `{program}`"))?;
        let mut switches = switches.iter();
        while let Some(switch) = switches.next() {
            if matches!(switch.as_str(), "-l" | "--login" | "-lc") {
                return Err("a login shell reads the image's profile".into());
            }
            let letters = switch.strip_prefix('-').filter(|letters| !letters.is_empty());
            let refused = || format!("its shell is started with `{switch}`");
            let is_last = switches.len() == 0;
            for letter in letters.ok_or_else(refused)?.chars() {
                match letter {
                    'o' => dialect.set(switches.next().ok_or_else(refused)?).map_err(|()| refused())?,
                    'u' => dialect.refuses_unset = true,
                    'e' | 'x' | 'v' => {}
                    'c' if is_last => return Ok(dialect),
                    _ => return Err(refused()),
                }
            }
        }
        Err("its shell is given no `-c`".into())
    }

    /// The shell of a `#!` line.
    ///
    /// # Errors
    /// Fails with a reason where that is no shell, or one with other switches than `-e`, `-u`, `-x`.
    pub(crate) fn of_first_line(line: &str) -> Result<Self, String> {
        let command = line.trim_start_matches("#!").trim();
        let mut words = command.split_whitespace();
        let refused = || format!("it is a script for `{command}`");
        let program = match words.next() {
            Some("/usr/bin/env") => words.next(),
            program => program,
        };
        let mut dialect = program.and_then(Self::named).ok_or_else(refused)?;
        let letters = match (words.next(), words.next()) {
            (None, None) => "",
            (Some(switch), None) => switch.strip_prefix('-').ok_or_else(refused)?,
            _ => return Err(refused()),
        };
        if !letters.chars().all(|letter| "eux".contains(letter)) {
            return Err(refused());
        }
        dialect.refuses_unset = letters.contains('u');
        Ok(dialect)
    }

    fn named(program: &str) -> Option<Self> {
        let (folder, name) = program.split_at(program.rfind('/').map_or(0, |at| at + 1));
        let is_known = SHELLS.contains(&name) && FOLDERS.contains(&folder);
        is_known.then_some(Self { is_bash: name == "bash", refuses_unset: false })
    }

    /// Turns a switch on, by its long name.
    fn set(&mut self, name: &str) -> Result<(), ()> {
        self.refuses_unset |= name == "nounset";
        if SWITCHES.contains(&name) { Ok(()) } else { Err(()) }
    }

    /// What `set` with these words does.
    ///
    /// # Errors
    /// Fails with a reason for switches that change how words are read.
    pub(crate) fn set_by(&mut self, words: &[String]) -> Result<(), String> {
        let refused = || format!("`{}` changes how the shell reads", ["set", &words.join(" ")].join(" ").trim_end());
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let is_on = word.starts_with('-');
            let letters = word.strip_prefix(['-', '+']).filter(|letters| !letters.is_empty()).ok_or_else(refused)?;
            for letter in letters.chars() {
                match letter {
                    'e' | 'x' | 'v' => {}
                    'u' => self.refuses_unset = is_on,
                    'o' => self.set_long(rest.next().ok_or_else(refused)?, is_on)?,
                    _ => return Err(refused()),
                }
            }
        }
        if words.is_empty() { Err(refused()) } else { Ok(()) }
    }

    fn set_long(&mut self, name: &str, is_on: bool) -> Result<(), String> {
        match name {
            "pipefail" if !self.is_bash => Err("`set -o pipefail` fails in some shells".into()),
            "nounset" => {
                self.refuses_unset = is_on;
                Ok(())
            }
            _ if SWITCHES.contains(&name) => Ok(()),
            _ => Err(format!("`set -o {name}` changes how the shell reads")),
        }
    }
}

fn default() -> Vec<String> {
    ["/bin/sh", "-c"].map(str::to_owned).to_vec()
}
