//! Changes of permission bits: octal numbers and symbolic modes, as `--chmod` and chmod(1) take them.
//!
//! Nothing is looked up; what a mode is of is said by the caller.

use crate::diagnostic::{Class, Diagnose};

const USER: u32 = 0o700;
const GROUP: u32 = 0o070;
const OTHER: u32 = 0o007;
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EXECUTES: u32 = 0o111;
/// What a clause without `u`, `g` or `o` speaks of.
const ALL: u32 = 0o6777;

/// Why a text is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// A number that is too large, or not octal.
    #[error("mode `{0}` is no octal number between 0 and 07777")]
    Number(String),
    /// Neither a number nor clauses such as `u=rwX,go=rX`.
    #[error("mode `{0}` is neither octal nor symbolic")]
    Form(String),
}

impl Diagnose for ModeError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("write for example `755`, `u+x` or `u=rwX,go=rX`".into())
    }
}

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// These bits, whatever was there; a directory keeps its set-ID bits when `keeps`.
    Octal {
        bits: u32,
        keeps: bool,
    },
    Symbolic(Vec<Step>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Set(u32),
    Clear(u32),
    /// Sets these if the file was executable for anyone, or is a directory.
    SetIfExecutable(u32),
    /// Takes the bits of one class for others.
    Take {
        shift: u32,
        of: u32,
        sets: bool,
        clears: bool,
    },
}

impl ModeChange {
    /// Reads what `COPY --chmod` takes.
    ///
    /// # Errors
    /// Fails on anything else.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return octal(text).map(|bits| Self(Form::Octal { bits, keeps: false }));
        }
        symbolic(text, 0).map(|steps| Self(Form::Symbolic(steps)))
    }

    /// Reads what chmod(1) of GNU coreutils takes, under a umask of 022: a clause without `u`, `g`, `o` or `a` leaves
    /// alone what the umask forbids, and a number of up to four digits leaves a directory its set-ID bits.
    ///
    /// # Errors
    /// Fails on anything else.
    pub fn parse_as_command(text: &str) -> Result<Self, ModeError> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return octal(text).map(|bits| Self(Form::Octal { bits, keeps: text.len() < 5 }));
        }
        symbolic(text, 0o022).map(|steps| Self(Form::Symbolic(steps)))
    }

    /// The bits, for a number.
    pub fn octal(&self) -> Option<u32> {
        match self.0 {
            Form::Octal { bits, .. } => Some(bits),
            Form::Symbolic(_) => None,
        }
    }

    /// The bits that `mode` becomes.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let steps = match &self.0 {
            Form::Octal { bits, keeps: true } if is_directory => return bits | (mode & (SET_USER | SET_GROUP)),
            Form::Octal { bits, .. } => return *bits,
            Form::Symbolic(steps) => steps,
        };
        let mut new = mode;
        for step in steps {
            match *step {
                Step::Set(bits) => new |= bits,
                Step::Clear(bits) => new &= !bits,
                Step::SetIfExecutable(bits) if mode & EXECUTES != 0 || is_directory => new |= bits,
                Step::SetIfExecutable(_) => {}
                Step::Take { shift, of, sets, clears } => {
                    let taken = new >> shift & 7;
                    let spread = (taken << 6 | taken << 3 | taken) & of;
                    if clears {
                        new &= !(if sets { of } else { spread });
                    }
                    if sets {
                        new |= spread;
                    }
                }
            }
        }
        new
    }
}

fn octal(text: &str) -> Result<u32, ModeError> {
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777);
    bits.ok_or_else(|| ModeError::Number(text.into()))
}

fn symbolic(text: &str, umask: u32) -> Result<Vec<Step>, ModeError> {
    let malformed = || ModeError::Form(text.into());
    let mut steps = Vec::new();
    for clause in text.split(',') {
        let operator = clause.find(|c: char| !"augo".contains(c)).ok_or_else(malformed)?;
        let mut who = 0;
        for class in clause[..operator].chars() {
            who |= match class {
                'u' => SET_USER | USER,
                'g' => SET_GROUP | GROUP,
                'o' => OTHER,
                _ => ALL,
            };
        }
        let mut rest = &clause[operator..];
        while let Some(operator) = rest.chars().next() {
            if !matches!(operator, '+' | '-' | '=') {
                return Err(malformed());
            }
            let end = rest[1..].find(|c: char| !"rwxXstugo".contains(c)).map_or(rest.len(), |end| end + 1);
            action(operator, &rest[1..end], who, umask, &mut steps);
            rest = &rest[end..];
        }
    }
    Ok(steps)
}

/// One operator with what follows it.
fn action(operator: char, permissions: &str, mut who: u32, umask: u32, steps: &mut Vec<Step>) {
    let only_other = who != 0 && who & !OTHER == 0;
    let (mut bits, mut if_executable) = (0, 0);
    // `=` clears once, and not at all when it takes another class's bits.
    let mut has_cleared = operator != '=';
    for permission in permissions.chars() {
        match permission {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'X' if operator != '-' => if_executable |= EXECUTES,
            'x' | 'X' => bits |= EXECUTES,
            's' if !only_other => bits |= SET_USER | SET_GROUP,
            't' if !only_other => {
                who |= STICKY;
                bits |= STICKY;
            }
            's' | 't' => {}
            class => {
                if bits != 0 {
                    change(operator, bits, who, umask, steps);
                }
                execution(if_executable, who, umask, steps);
                (bits, if_executable, has_cleared) = (0, 0, true);
                steps.push(take(operator, class, who, umask));
            }
        }
    }
    if bits != 0 || !has_cleared {
        change(operator, bits, who, umask, steps);
    }
    execution(if_executable, who, umask, steps);
}

fn within(who: u32, umask: u32) -> u32 {
    if who == 0 { !umask } else { who }
}

fn change(operator: char, bits: u32, who: u32, umask: u32, steps: &mut Vec<Step>) {
    if operator == '=' {
        steps.push(Step::Clear(if who == 0 { ALL } else { who }));
    }
    let bits = bits & within(who, umask);
    steps.push(if operator == '-' { Step::Clear(bits) } else { Step::Set(bits) });
}

fn execution(bits: u32, who: u32, umask: u32, steps: &mut Vec<Step>) {
    if bits != 0 {
        steps.push(Step::SetIfExecutable(bits & within(who, umask)));
    }
}

fn take(operator: char, class: char, who: u32, umask: u32) -> Step {
    let shift = match class {
        'u' => 6,
        'g' => 3,
        _ => 0,
    };
    Step::Take { shift, of: within(who, umask) & 0o777, sets: operator != '-', clears: operator != '+' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes_change_what_they_name() {
        let table: [(&str, u32, bool, u32); 17] = [
            ("u+x", 0o640, false, 0o740),
            ("go-rwx", 0o4755, false, 0o4700),
            ("a=rX", 0o640, false, 0o444),
            ("a=rX", 0o600, true, 0o555),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("o=g-r", 0o640, false, 0o640),
            ("go=u-w", 0o750, false, 0o755),
            ("+t", 0o755, true, 0o1755),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("o+s", 0o755, false, 0o755),
            ("=", 0o1777, true, 0o1000),
            ("ug+rw,o=", 0o005, false, 0o660),
            ("u+", 0o640, false, 0o640),
            ("g=g", 0o2750, false, 0o2750),
            ("755", 0o4000, false, 0o755),
            ("0", 0o777, true, 0),
        ];
        for (text, before, is_directory, after) in table {
            let changed = ModeChange::parse(text).unwrap().apply(before, is_directory);
            assert_eq!(changed, after, "{text} of {before:o} gave {changed:o}");
        }
    }

    #[test]
    fn the_command_minds_a_umask_and_the_bits_of_directories() {
        let apply =
            |text: &str, mode, is_directory| ModeChange::parse_as_command(text).unwrap().apply(mode, is_directory);
        assert_eq!((apply("+w", 0o444, false), apply("a+w", 0o444, false)), (0o644, 0o666));
        assert_eq!((apply("755", 0o2700, true), apply("00755", 0o2700, true)), (0o2755, 0o755));
        assert_eq!(apply("755", 0o2700, false), 0o755);
    }

    #[test]
    fn what_is_no_mode_is_told_apart() {
        for text in ["8", "10000", "644,u+x", "75x"] {
            assert_eq!(ModeChange::parse(text), Err(ModeError::Number(text.into())));
        }
        for text in ["", "x", "u", "u+z", "rwx", "u=rw,", ",u+x", "u+x,,"] {
            assert_eq!(ModeChange::parse(text), Err(ModeError::Form(text.into())), "{text}");
        }
    }
}
