//! `entry_points.txt` and the scripts made from it (entry points specification).
//!
//! The file is read as Python's `configparser` reads it, with `=` alone as delimiter and case kept. Only the
//! two sections that become scripts are looked at; extras in brackets are ignored, as installers do.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnose;

/// A script to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The script's file name.
    pub name: String,
    /// The module to import from.
    pub module: String,
    /// What to call: a name, or a dotted path of attributes.
    pub function: String,
}

/// Why `entry_points.txt` is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntryPointError {
    /// The file is no UTF-8.
    #[error("entry_points.txt is no UTF-8")]
    Encoding,
    /// A line stands before the first section.
    #[error("entry_points.txt line {0}: expected a section header")]
    NoSection(usize),
    /// A line is neither section nor option.
    #[error("entry_points.txt line {0}: neither a section header nor `name = value`")]
    Line(usize),
    /// A section or an option appears twice.
    #[error("entry_points.txt line {line}: `{name}` appears twice")]
    Duplicate {
        /// The line, from 1.
        line: usize,
        /// What appears twice.
        name: String,
    },
    /// A value is not `module:function`.
    #[error("entry_points.txt: script `{name}` has value `{}`, not `module:function`", value.escape_debug())]
    Value {
        /// The script.
        name: String,
        /// The value.
        value: String,
    },
    /// A script's name is no file name, or would replace the interpreter.
    #[error("script name `{}` is reserved or no file name", .0.escape_debug())]
    Name(String),
}

impl Diagnose for EntryPointError {
    fn hint(&self) -> Option<String> {
        Some("the wheel's entry points are malformed; use another build of it".to_owned())
    }
}

/// Console and GUI scripts, each in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPoints {
    /// `console_scripts`.
    pub console: Vec<EntryPoint>,
    /// `gui_scripts`.
    pub gui: Vec<EntryPoint>,
}

impl EntryPoints {
    /// Reads `entry_points.txt` for an interpreter of minor version `python_minor`, which pip's own wheel needs:
    /// its `pip3.X` scripts are named after the interpreter, not after the one that built the wheel.
    ///
    /// # Errors
    /// Fails when the file or a script in it is malformed.
    pub fn parse(bytes: &[u8], python_minor: u32) -> Result<Self, EntryPointError> {
        let text = std::str::from_utf8(bytes).map_err(|_| EntryPointError::Encoding)?;
        let sections = Sections::parse(text)?;
        let mut console = scripts(&sections, "console_scripts")?;
        let gui = scripts(&sections, "gui_scripts")?;
        let versioned = |name: &str| name.strip_prefix("pip3.").is_some_and(|minor| minor.parse::<u8>().is_ok());
        console.retain(|script| !versioned(&script.name));
        if let Some(pip3) = console.iter().find(|script| script.name == "pip3").cloned() {
            console.push(EntryPoint { name: format!("pip3.{python_minor}"), ..pip3 });
        }
        for script in console.iter().chain(&gui) {
            check_script_name(&script.name)?;
        }
        Ok(Self { console, gui })
    }
}

/// Refuses a script name that is no single path component, or that is the interpreter's.
///
/// # Errors
/// Fails with [`EntryPointError::Name`].
pub fn check_script_name(name: &str) -> Result<(), EntryPointError> {
    let no_file = matches!(name, "" | "." | "..") || name.contains(['/', '\\']) || name.chars().any(char::is_control);
    let interpreter = matches!(name, "python" | "pythonw" | "python3")
        || name.strip_prefix("python3.").is_some_and(|minor| minor.parse::<u8>().is_ok());
    if no_file || interpreter { Err(EntryPointError::Name(name.to_owned())) } else { Ok(()) }
}

impl EntryPoint {
    /// Parses the value `module:function [extras]` of the script `name`.
    fn parse(name: &str, value: &str) -> Result<Self, EntryPointError> {
        let parts = || {
            let (reference, extras) = match value.split_once('[') {
                Some((reference, extras)) => (reference, Some(extras)),
                None => (value, None),
            };
            if let Some(extras) = extras {
                let inner = extras.trim_end().strip_suffix(']')?.trim();
                let names = inner.strip_suffix(',').unwrap_or(inner);
                if names.split(',').any(|name| name.trim().is_empty()) {
                    return None;
                }
            }
            let (module, function) = reference.split_once(':')?;
            let (module, function) = (module.trim_end(), function.trim());
            (is_dotted(module) && is_dotted(function)).then(|| (module.to_owned(), function.to_owned()))
        };
        let (module, function) =
            parts().ok_or_else(|| EntryPointError::Value { name: name.to_owned(), value: value.to_owned() })?;
        Ok(Self { name: name.to_owned(), module, function })
    }

    /// The script's text behind the `shebang` (which has no newline at its end), as uv and pip write it.
    pub fn script(&self, shebang: &str) -> String {
        let Self { module, function, .. } = self;
        let import = function.split('.').next().unwrap_or(function);
        format!(
            "{shebang}\n\
             # -*- coding: utf-8 -*-\n\
             import sys\n\
             from {module} import {import}\n\
             if __name__ == \"__main__\":\n    \
                 if sys.argv[0].endswith(\"-script.pyw\"):\n        \
                     sys.argv[0] = sys.argv[0][:-11]\n    \
                 elif sys.argv[0].endswith(\".exe\"):\n        \
                     sys.argv[0] = sys.argv[0][:-4]\n    \
                 sys.exit({function}())\n"
        )
    }
}

/// The `#!` line for `interpreter`, without a newline at its end.
///
/// Linux cuts the line at 127 bytes and splits it at blanks; where that would hurt, `/bin/sh` finds the interpreter
/// in a line that Python takes for a string.
pub fn shebang(interpreter: &str) -> String {
    if interpreter.len() + 3 <= 127 && !interpreter.contains(' ') {
        return format!("#!{interpreter}");
    }
    let quoted = interpreter.replace('\'', r#"'"'"'"#);
    format!("#!/bin/sh\n'''exec' '{quoted}' \"$0\" \"$@\"\n' '''")
}

fn is_dotted(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.'))
}

fn scripts(sections: &Sections, section: &str) -> Result<Vec<EntryPoint>, EntryPointError> {
    let Some(own) = sections.0.get(section) else { return Ok(Vec::new()) };
    let mut options = sections.0.get("DEFAULT").cloned().unwrap_or_default();
    options.extend(own.clone());
    options.iter().map(|(name, value)| EntryPoint::parse(name, value)).collect()
}

/// The options of each section, as `configparser.RawConfigParser(delimiters=("=",))` reads them.
struct Sections(BTreeMap<String, BTreeMap<String, String>>);

impl Sections {
    fn parse(text: &str) -> Result<Self, EntryPointError> {
        let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut section: Option<String> = None;
        let mut option: Option<String> = None;
        let mut indent = 0;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let content = line.trim();
            let comment = content.starts_with(['#', ';']);
            let current = section.as_ref().and_then(|name| sections.get_mut(name));
            let value = current.and_then(|options| option.as_ref().and_then(|name| options.get_mut(name)));
            if content.is_empty() || comment {
                if let (Some(value), false) = (value, comment) {
                    value.push('\n');
                }
                continue;
            }
            let own_indent = line.chars().take_while(|letter| letter.is_whitespace()).count();
            if let (Some(value), true) = (value, own_indent > indent) {
                value.push('\n');
                value.push_str(content);
                continue;
            }
            indent = own_indent;
            if let Some(header) = header(content) {
                if sections.insert(header.to_owned(), BTreeMap::new()).is_some() {
                    return Err(EntryPointError::Duplicate { line: number, name: header.to_owned() });
                }
                (section, option) = (Some(header.to_owned()), None);
                continue;
            }
            let options = section.as_ref().and_then(|name| sections.get_mut(name));
            let options = options.ok_or(EntryPointError::NoSection(number))?;
            let (name, value) = content.split_once('=').ok_or(EntryPointError::Line(number))?;
            let name = name.trim_end();
            if name.is_empty() {
                return Err(EntryPointError::Line(number));
            }
            if options.insert(name.to_owned(), value.trim().to_owned()).is_some() {
                return Err(EntryPointError::Duplicate { line: number, name: name.to_owned() });
            }
            option = Some(name.to_owned());
        }
        for options in sections.values_mut() {
            for value in options.values_mut() {
                value.truncate(value.trim_end().len());
            }
        }
        Ok(Self(sections))
    }
}

/// The name between the first `[` and the last `]`; what follows is ignored.
fn header(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('[')?;
    rest.rfind(']').filter(|end| *end > 0).map(|end| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(points: &[EntryPoint]) -> Vec<&str> {
        points.iter().map(|point| point.name.as_str()).collect()
    }

    #[test]
    fn scripts_are_read_as_python_reads_them() {
        let text = "; c\n[DEFAULT]\nd = a:b\n[console_scripts] # tail\r\n# c\nfoo = a.b : c.d [x, y]\nBar=a:b\n\n  \
                    \nlong = a:\n  b\n[gui_scripts]\ng=a-b:c\n[ console_scripts ]\nz=q\n[other]\nz = q\n";
        let points = EntryPoints::parse(text.as_bytes(), 11).unwrap();
        assert_eq!(names(&points.console), ["Bar", "d", "foo", "long"]);
        assert_eq!(names(&points.gui), ["d", "g"]);
        let foo = &points.console[2];
        assert_eq!((foo.module.as_str(), foo.function.as_str()), ("a.b", "c.d"));
        assert_eq!(points.console[3].function, "b");
    }

    #[test]
    fn malformed_entry_points_are_refused() {
        use EntryPointError::{Duplicate, Encoding, Line, Name, NoSection, Value};
        let parse = |text: &str| EntryPoints::parse(text.as_bytes(), 11).unwrap_err();
        assert_eq!(EntryPoints::parse(b"\xff", 11), Err(Encoding));
        assert_eq!(parse("x = a:b"), NoSection(1));
        assert_eq!(parse("\u{feff}[console_scripts]"), NoSection(1));
        assert_eq!(parse("[console_scripts]\nx : a:b"), Line(2));
        assert!(matches!(parse("[a]\n[a]"), Duplicate { line: 2, .. }));
        assert!(matches!(parse("[a]\nx=1\nx=2"), Duplicate { line: 3, .. }));
        for value in ["a", "a:", ":b", "a:b [x", "a:b c", "a:b []", "a:b [,]", "a:b # c", "\"a:b\"", "a:b\n  c = a:b"] {
            assert!(matches!(parse(&format!("[console_scripts]\nx = {value}")), Value { .. }), "{value}");
        }
        for name in ["../x", "a/b", "python", "python3.11", ".."] {
            assert_eq!(parse(&format!("[gui_scripts]\n{name} = a:b")), Name(name.into()), "{name}");
        }
    }

    #[test]
    fn pip_scripts_are_named_after_the_interpreter() {
        let text = "[console_scripts]\npip=p:m\npip3=p:m\npip3.9=p:m\npip4.1=p:m\n";
        let points = EntryPoints::parse(text.as_bytes(), 12).unwrap();
        assert_eq!(names(&points.console), ["pip", "pip3", "pip4.1", "pip3.12"]);
    }

    #[test]
    fn script_has_the_text_that_installers_write() {
        let point = EntryPoint { name: "x".into(), module: "a.b".into(), function: "c.d".into() };
        let expected = "#!/usr/bin/python3\n# -*- coding: utf-8 -*-\nimport sys\nfrom a.b import c\n\
            if __name__ == \"__main__\":\n    if sys.argv[0].endswith(\"-script.pyw\"):\n        \
            sys.argv[0] = sys.argv[0][:-11]\n    elif sys.argv[0].endswith(\".exe\"):\n        \
            sys.argv[0] = sys.argv[0][:-4]\n    sys.exit(c.d())\n";
        assert_eq!(point.script(&shebang("/usr/bin/python3")), expected);
    }

    #[test]
    fn shebang_that_linux_would_cut_or_split_goes_through_the_shell() {
        let long = format!("/{}", "x".repeat(123));
        assert_eq!(shebang(&long), format!("#!{long}"));
        assert!(shebang(&format!("{long}x")).starts_with("#!/bin/sh\n'''exec' '/x"));
        assert_eq!(shebang("/a b/c'd"), "#!/bin/sh\n'''exec' '/a b/c'\"'\"'d' \"$0\" \"$@\"\n' '''");
    }
}
