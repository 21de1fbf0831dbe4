//! Changes of a file's mode, as `chmod` and `mkdir -m` are given them.
//!
//! The umask is `022`, which containers start with; no file is touched.

/// Bits that a mode has at all.
const ALL: u32 = 0o7777;
const UMASK: u32 = 0o022;
const SET_IDS: u32 = 0o6000;

/// A change of modes: `755`, `u+x,go-w`, `a=rX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    changes: Vec<Change>,
}

/// One operation of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    /// The bits of those it is for; 0 where no `u`, `g`, `o` or `a` stood.
    whose: u32,
    operation: Operation,
    bits: Bits,
    /// The set-ID bits that it speaks of, so that those of a folder change too.
    spoken_of: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Take,
    Set,
}

/// Whose rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Gnu,
    Busybox,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    /// These, and execution too where something is executable already or a folder (`X`).
    These { bits: u32, is_execution_conditional: bool },
    /// Those that the user, the group or others have, a mask of three bits.
    CopyOf(u32),
}

impl Mode {
    /// Reads a change; `None` for what is none, or one that tools take in different ways.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let is_octal = text.len() <= 5 && text.chars().all(|c| ('0'..='7').contains(&c));
            let bits = u32::from_str_radix(text, 8).ok().filter(|bits| is_octal && *bits <= ALL)?;
            // The set-ID bits of a folder stay unless they are set, or written as a fifth digit.
            let spoken_of = if text.len() == 5 { SET_IDS } else { bits & SET_IDS };
            let bits = Bits::These { bits, is_execution_conditional: false };
            return Some(Self { changes: vec![Change { whose: ALL, operation: Operation::Set, bits, spoken_of }] });
        }
        let clauses = text.split(',').map(clause).collect::<Option<Vec<_>>>()?;
        Some(Self { changes: clauses.concat() })
    }

    /// The mode that a file of `mode` has afterwards, as GNU's `chmod` and `mkdir` do it.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        self.changes.iter().fold(mode & ALL, |mode, change| change.apply(mode, is_dir, Tool::Gnu))
    }

    /// The same as busybox does it: set-ID bits of folders do not stay, and `=X` asks who may execute after `=` took it.
    pub fn apply_as_busybox(&self, mode: u32, is_dir: bool) -> u32 {
        self.changes.iter().fold(mode & ALL, |mode, change| change.apply(mode, is_dir, Tool::Busybox))
    }
}

/// `ug+rw-x`: for whom, then operations.
fn clause(text: &str) -> Option<Vec<Change>> {
    let begin = text.find(['+', '-', '='])?;
    let whose = text[..begin].chars().map(class).try_fold(0, |whose, class| Some(whose | class?))?;
    let mut changes = Vec::new();
    let mut rest = &text[begin..];
    while let Some(sign) = rest.chars().next() {
        let operation = match sign {
            '+' => Operation::Add,
            '-' => Operation::Take,
            _ => Operation::Set,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        let bits = permissions(&rest[1..end])?;
        let spoken_of = match bits {
            Bits::These { bits, .. } => bits & SET_IDS & if whose == 0 { ALL } else { whose },
            Bits::CopyOf(_) => 0,
        };
        changes.push(Change { whose, operation, bits, spoken_of });
        rest = &rest[end..];
    }
    Some(changes)
}

/// The bits of one of `ugoa`.
fn class(letter: char) -> Option<u32> {
    match letter {
        'u' => Some(0o4700),
        'g' => Some(0o2070),
        'o' => Some(0o1007),
        'a' => Some(ALL),
        _ => None,
    }
}

fn permissions(letters: &str) -> Option<Bits> {
    match letters {
        "u" => return Some(Bits::CopyOf(0o700)),
        "g" => return Some(Bits::CopyOf(0o070)),
        "o" => return Some(Bits::CopyOf(0o007)),
        _ => {}
    }
    let (mut bits, mut is_execution_conditional) = (0, false);
    for letter in letters.chars() {
        match letter {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            'X' => is_execution_conditional = true,
            's' => bits |= SET_IDS,
            't' => bits |= 0o1000,
            _ => return None,
        }
    }
    Some(Bits::These { bits, is_execution_conditional })
}

impl Change {
    fn apply(&self, mode: u32, is_dir: bool, tool: Tool) -> u32 {
        let whose = if self.whose == 0 { ALL } else { self.whose };
        let wanted = match self.bits {
            Bits::These { bits, is_execution_conditional } => {
                let is_taken = tool == Tool::Busybox && self.operation == Operation::Set;
                let asked = if is_taken { mode & !whose } else { mode };
                let executes = is_execution_conditional && (is_dir || asked & 0o111 != 0);
                bits | if executes { 0o111 } else { 0 }
            }
            Bits::CopyOf(mask) => spread(mode & mask),
        };
        let kept = if is_dir && tool == Tool::Gnu { SET_IDS & !self.spoken_of } else { 0 };
        let limit = if self.whose == 0 { !UMASK } else { self.whose };
        let wanted = wanted & limit & !kept & ALL;
        match self.operation {
            Operation::Add => mode | wanted,
            Operation::Take => mode & !wanted,
            Operation::Set => (mode & !(whose & !kept)) | wanted,
        }
    }
}

/// The permissions of one class, given to all three.
fn spread(bits: u32) -> u32 {
    let has = |mask: u32| if bits & mask != 0 { mask } else { 0 };
    has(0o444) | has(0o222) | has(0o111)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line was compared with GNU coreutils 9.
    #[test]
    fn modes_change_as_chmod_changes_them() {
        let table = [
            ("755", 0o644, false, 0o755),
            ("0755", 0o2775, true, 0o2755),
            ("00755", 0o2775, true, 0o755),
            ("755", 0o4755, false, 0o755),
            ("2755", 0o755, true, 0o2755),
            ("4755", 0o2755, true, 0o6755),
            ("1777", 0o755, true, 0o1777),
            ("+x", 0o644, false, 0o755),
            ("+w", 0o444, false, 0o644),
            ("a+w", 0o444, false, 0o666),
            ("u+x,go-w", 0o666, false, 0o744),
            ("a=rX", 0o600, false, 0o444),
            ("a=rX", 0o700, false, 0o555),
            ("a=rX", 0o600, true, 0o555),
            ("a+rwX", 0o600, false, 0o666),
            ("g=u", 0o640, false, 0o660),
            ("g+u", 0o750, false, 0o770),
            ("o=g", 0o6750, false, 0o6755),
            ("go=", 0o2755, true, 0o2700),
            ("go=", 0o2755, false, 0o700),
            ("u=rwx,g=rx,o=", 0o777, false, 0o750),
            ("ug+s", 0o755, false, 0o6755),
            ("g-s", 0o2755, true, 0o755),
            ("+t", 0o777, true, 0o1777),
            ("=", 0o777, false, 0),
            ("=rw", 0o777, false, 0o644),
            ("u+rw-x", 0o700, false, 0o600),
            ("-x", 0o755, false, 0o644),
            ("+X", 0o644, false, 0o644),
            ("a-x+X", 0o755, false, 0o644),
            ("a-x+X", 0o755, true, 0o755),
        ];
        for (text, before, is_dir, after) in table {
            let mode = Mode::parse(text).unwrap();
            let found = mode.apply(before, is_dir);
            assert_eq!(found, after, "{text} of {before:o}: {found:o} for {after:o}");
        }
    }

    /// Each line was compared with busybox 1.35; its other results are those of coreutils.
    #[test]
    fn busybox_changes_some_modes_otherwise() {
        let table = [
            ("0755", 0o2775, true, 0o755),
            ("4755", 0o2755, true, 0o4755),
            ("go=", 0o2755, true, 0o700),
            ("a=rX", 0o700, false, 0o444),
            ("u=rwX", 0o755, false, 0o755),
            ("u=rwX", 0o744, false, 0o644),
            ("u=rwX,g=rX,o=", 0o700, true, 0o750),
            ("a+rX", 0o700, false, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("g+s", 0o755, true, 0o2755),
        ];
        for (text, before, is_dir, after) in table {
            let found = Mode::parse(text).unwrap().apply_as_busybox(before, is_dir);
            assert_eq!(found, after, "{text} of {before:o}: {found:o} for {after:o}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "x", "8", "755x", "077777", "+q", "z+x", "u+ug", "u+rg", "u+x,", "+755", "u", "10000"] {
            assert_eq!(Mode::parse(text), None, "{text}");
        }
    }
}
