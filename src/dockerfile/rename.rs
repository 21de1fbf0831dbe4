//! A Dockerfile's text with other names where it names images or stages.
//!
//! Which names stand for what is the caller's to know; everything else stays as it was written.

use super::error::DockerfileError;
use super::mount;
use super::node::{Node, read_nodes};
use super::words::{flag_spans, split_at_blanks};

/// `text` with `rename(word)` in the place of each word by which `FROM`, `COPY --from` and mounts name an image or a stage;
/// `None` leaves it. An instruction with another name loses its comments and continuation lines, nothing else.
///
/// # Errors
/// Fails for a text that has no instructions, as [`read_nodes`] does.
pub fn renamed(text: &str, rename: &dyn Fn(&str) -> Option<String>) -> Result<String, DockerfileError> {
    let read = read_nodes(text)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // From the end, so that places stay what they are.
    for node in read.nodes.iter().rev() {
        if let Some(new) = renamed_node(node, read.escape, rename) {
            lines.splice(node.lines.first - 1..node.lines.last, [new]);
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// The instruction on one line, with its here-documents below; `None` when nothing in it has another name.
fn renamed_node(node: &Node, escape: char, rename: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let line = &node.joined;
    let after_keyword = line.find(&node.keyword)? + node.keyword.len();
    let (flags, end) = flag_spans(&line[after_keyword..], escape);
    let mut cuts: Vec<(usize, usize, String)> = Vec::new();
    match node.keyword.to_ascii_lowercase().as_str() {
        "from" => {
            let rest = line.get(after_keyword + end..)?;
            let word = split_at_blanks(rest.trim_start()).into_iter().next()?;
            let start = after_keyword + end + rest.find(&word)?;
            cuts.push((start, start + word.len(), rename(&word)?));
        }
        "copy" | "run" => {
            for (flag, start, end) in flags {
                let new = match flag.split_once('=').unwrap_or((&flag, "")) {
                    ("--from", word) => rename(word).map(|name| format!("--from={name}")),
                    ("--mount", fields) => mount::renamed(fields, rename).map(|fields| format!("--mount={fields}")),
                    _ => None,
                };
                let Some(new) = new else { continue };
                cuts.push((after_keyword + start, after_keyword + end, written(&new, escape)));
            }
        }
        _ => {}
    }
    if cuts.is_empty() {
        return None;
    }
    let mut text = line.clone().into_bytes();
    for (start, end, new) in cuts.into_iter().rev() {
        text.splice(start..end, new.into_bytes());
    }
    let mut text = String::from_utf8_lossy(&text).into_owned();
    for document in &node.documents {
        text.push_str(&format!("\n{}{}", document.content, document.name));
    }
    Some(text)
}

/// A flag as it is written, so that it is read as `flag`. Each of its characters stands for a byte.
fn written(flag: &str, escape: char) -> String {
    let is_special = |c: char| c.is_whitespace() || matches!(c, '\'' | '"') || c == escape;
    let escaped: String = flag.chars().flat_map(|c| is_special(c).then_some(escape).into_iter().chain([c])).collect();
    let bytes: Option<Vec<u8>> = escaped.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{Dockerfile, InstructionKind};

    fn rename(word: &str) -> Option<String> {
        match word {
            "a" => Some("r.test/a@sha256:1".into()),
            "0" => Some("zero".into()),
            _ => None,
        }
    }

    #[test]
    fn names_are_put_where_images_and_stages_are_named_and_nowhere_else() {
        for (text, expected) in [
            ("FROM a", "FROM r.test/a@sha256:1"),
            ("from  --platform=linux/amd64  a as a", "from  --platform=linux/amd64  r.test/a@sha256:1 as a"),
            ("FROM ab\nRUN a --from=a", "FROM ab\nRUN a --from=a"),
            ("COPY --chown=1 --from=a a /a", "COPY --chown=1 --from=r.test/a@sha256:1 a /a"),
            ("COPY --from=\"a\" x /a", "COPY --from=r.test/a@sha256:1 x /a"),
            ("COPY --from=0 --link x /0", "COPY --from=zero --link x /0"),
            (
                "RUN --mount=from=a,target=/t \\\n # why\n  b from=a",
                "RUN --mount=from=r.test/a@sha256:1,target=/t   b from=a",
            ),
            (
                "RUN --mount=type=bind,FROM=a,\\\"target=/x,y\\\" b",
                "RUN --mount=type=bind,from=r.test/a@sha256:1,\\\"target=/x,y\\\" b",
            ),
            (
                "RUN --mount=from=a,target=/t <<E\nfrom=a\nE",
                "RUN --mount=from=r.test/a@sha256:1,target=/t <<E\nfrom=a\nE",
            ),
            ("RUN --mount=target=/t \\\n  b", "RUN --mount=target=/t \\\n  b"),
            ("# escape=`\nCOPY --from=a `\n  x /é", "# escape=`\nCOPY --from=r.test/a@sha256:1   x /é"),
            ("ADD --chown=a a /", "ADD --chown=a a /"),
        ] {
            assert_eq!(renamed(text, &rename).unwrap(), format!("{expected}\n"));
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "FROM x\nRUN --mount=type=cache,id=\"ä b\",target=/c --mount=from=a,source=\"ü d\",target=/t <<E x\nmake\nE\n";
        let kind = |text: &str| Dockerfile::parse(text).unwrap().stages[0].instructions[0].kind.clone();
        let (InstructionKind::Run(before), InstructionKind::Run(after)) =
            (kind(text), kind(&renamed(text, &rename).unwrap()))
        else {
            panic!("two commands")
        };
        assert_eq!(after.mounts[1].from.as_deref(), Some("r.test/a@sha256:1"));
        assert_eq!((&after.mounts[0], &after.mounts[1].source), (&before.mounts[0], &before.mounts[1].source));
        assert_eq!((after.command, after.documents), (before.command, before.documents));
    }
}
