//! Writing to stdout and stderr.
//!
//! stdout holds results alone. A closed stdout is no reason to panic: who closed it knows.

use std::io::{IsTerminal, Write};

use super::args::ColorMode;

/// Writes a result to stdout.
///
/// # Errors
/// Fails when stdout cannot take it; a reader that went away is no failure.
pub(crate) fn to_stdout(text: &str) -> Result<(), StdoutError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(StdoutError(error)),
        _ => Ok(()),
    }
}

/// Writes a line to stderr; a failure to do so has nobody to be told to.
pub(crate) fn to_stderr(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.write_all(b"\n"));
}

/// stdout could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the result to stdout")]
pub(crate) struct StdoutError(#[source] std::io::Error);

impl lapstrake::diagnostic::Diagnose for StdoutError {
    fn hint(&self) -> Option<String> {
        Some("see that stdout is open and its disk has room".into())
    }
}

/// Whether stderr is shown in colour.
pub(crate) fn colored(mode: ColorMode, no_color: bool) -> bool {
    match mode {
        ColorMode::Always => true,
        ColorMode::Never => false,
        ColorMode::Auto => !no_color && std::io::stderr().is_terminal(),
    }
}

/// A number of bytes as people read it: `512 B`, `1.2 kB`, `34.5 MB` (powers of ten, as registries count).
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "";
    for name in UNITS {
        value /= 1_000.0;
        unit = name;
        if value < 999.95 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

/// A text that others wrote, with control characters made visible: no terminal obeys them.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Columns of text, each as wide as its widest cell; the columns named in `right` are right-aligned.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if right.contains(&column) { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A list of packages, or any other name, in at most `limit` characters; a cut list says how many it names.
pub(crate) fn shortened(title: &str, limit: usize) -> String {
    if title.chars().count() <= limit {
        return title.to_owned();
    }
    let tail = match title.split(", ").count() {
        1 => "…".to_owned(),
        packages => format!("… ({packages} packages)"),
    };
    let head: String = title.chars().take(limit.saturating_sub(tail.chars().count())).collect();
    format!("{head}{tail}")
}

/// A text in at most `limit` characters; a cut one ends in an ellipsis.
pub(crate) fn clipped(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let head: String = text.chars().take(limit.saturating_sub(1)).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_with_one_decimal() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_960, "1.0 MB"), (76_200_000, "76.2 MB")]
        {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn long_titles_say_how_many_packages_they_name() {
        let title = (0..30).map(|n| format!("package{n} 1.0")).collect::<Vec<_>>().join(", ");
        let short = shortened(&title, 58);
        assert_eq!(short.chars().count(), 58);
        assert!(short.ends_with("… (30 packages)"), "{short}");
        assert_eq!(shortened("numpy 2.1.0", 58), "numpy 2.1.0");
    }

    #[test]
    fn table_aligns_columns() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "22".to_owned()]];
        assert_eq!(table(&rows, &[1]), "a     1\nbcd  22");
    }
}
