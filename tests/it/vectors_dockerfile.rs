//! Dockerfiles and words against the answers of BuildKit's own tests.

use std::collections::BTreeMap;
use std::fmt::Write;

use lapstrake::dockerfile::{Node, expand_word, read_nodes};

use crate::support::vectors::{cases, text};

/// A text in double quotes, as Go's `strconv.Quote` writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let escapes = BTreeMap::from([('\x07', 'a'), ('\x08', 'b'), ('\x0c', 'f'), ('\n', 'n'), ('\r', 'r'), ('\t', 't')]);
    for c in text.chars() {
        match (c, escapes.get(&c)) {
            ('"' | '\\', _) => out.extend(['\\', c]),
            (_, Some(letter)) => out.extend(['\\', *letter]),
            (c, None) if c.is_control() => write!(out, "\\x{:02x}", u32::from(c)).unwrap(),
            (c, None) => out.push(c),
        }
    }
    out + "\""
}

/// A node as an S-expression without its parentheses.
fn expression(node: &Node) -> String {
    let mut out = node.keyword.to_lowercase();
    if !node.flags.is_empty() {
        let flags: Vec<String> = node.flags.iter().map(|flag| quoted(flag)).collect();
        write!(out, " [{}]", flags.join(" ")).unwrap();
    }
    if let Some(trigger) = &node.trigger {
        write!(out, " ({})", expression(trigger)).unwrap();
    }
    node.words.iter().for_each(|word| write!(out, " {}", quoted(word)).unwrap());
    out
}

#[test]
fn dockerfile_parser_vectors_agree() {
    for case in cases("dockerfile_parser").into_iter().flatten() {
        let name = text(&case, "name").unwrap();
        let read = read_nodes(text(&case, "dockerfile").unwrap());
        assert_eq!(read.is_err(), case["error"].as_bool().unwrap(), "{name}: {read:?}");
        if let Ok(read) = read {
            let written: String = read.nodes.iter().map(|node| format!("({})\n", expression(node))).collect();
            assert_eq!(written, text(&case, "ast").unwrap(), "{name}");
        }
    }
}

#[test]
fn dockerfile_expansion_vectors_agree() {
    let values = [("PWD", "/home"), ("SHELL", "bash"), ("KOREAN", "한국어"), ("NULL", "")];
    let lookup = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    for case in cases("dockerfile_env_expansion").into_iter().flatten() {
        let word = text(&case, "word").unwrap();
        let expanded = expand_word(word, '\\', &lookup);
        assert_eq!(expanded.is_err(), case["error"].as_bool().unwrap(), "{word}: {expanded:?}");
        assert_eq!(expanded.ok().as_deref(), text(&case, "expect"), "{word}");
    }
}
