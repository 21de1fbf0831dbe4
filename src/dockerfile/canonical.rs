//! A Dockerfile as a list of texts that are equal where no builder sees a difference.
//!
//! Where that is not certain they differ: what a shell or an image makes of a text is not looked at.

use serde_json::{Value, json};

use super::error::DockerfileError;
use super::node::{Node, read_nodes};

/// The instructions of `text`, one a text: without comments, with keywords in upper case, and with words that stand one
/// blank apart. The escape character comes first. Here-documents are as they were written.
///
/// # Errors
/// Fails for a text that has no instructions, as [`read_nodes`] does.
pub fn canonical(text: &str) -> Result<Vec<String>, DockerfileError> {
    let read = read_nodes(text)?;
    // Of another shell than those that are read here nothing is known.
    let is_usual_shell = !read.nodes.iter().any(|node| node.keyword.eq_ignore_ascii_case("shell"));
    let nodes = read.nodes.iter().map(|node| instruction(node, is_usual_shell).to_string());
    Ok([read.escape.to_string()].into_iter().chain(nodes).collect())
}

fn instruction(node: &Node, is_usual_shell: bool) -> Value {
    let keyword = node.keyword.to_uppercase();
    let mut words = node.words.clone();
    match (keyword.as_str(), words.as_mut_slice()) {
        ("RUN", [command]) if !node.is_json && is_usual_shell => *command = one_blank_apart(command),
        ("FROM", [_, between, name]) => (*between, *name) = (between.to_uppercase(), name.to_lowercase()),
        _ => {}
    }
    let documents = node.documents.iter().map(|document| json!([document.name, document.content, document.expand]));
    let trigger = node.trigger.as_ref().map(|trigger| instruction(trigger, is_usual_shell));
    json!([keyword, node.flags, words, node.is_json, documents.collect::<Vec<_>>(), trigger])
}

/// A shell's text with one blank for several between its words; as it is where quotes may lie in one another.
fn one_blank_apart(text: &str) -> String {
    let is_simple = ["$(", "${", "$'", "`", "#"].iter().all(|sign| !text.contains(sign));
    let mut out = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => {
                out.push(c);
                out.extend(chars.next());
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ' ' | '\t') => {
                // An escaped blank is a word's own, and one behind it is between words.
                let follows_blank = out.ends_with(' ') && !out.ends_with("\\ ");
                if !follows_blank {
                    out.push(' ');
                }
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    if is_simple && quote.is_none() { out } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_between_words_are_one_and_those_in_words_stay() {
        for (text, expected) in [
            ("a   b\tc", "a b c"),
            ("echo 'a  b'  \"c  'd\"  e", "echo 'a  b' \"c  'd\" e"),
            (r"a\  b \  c", r"a\  b \  c"),
            (r#"echo "a\"  b"  c"#, r#"echo "a\"  b" c"#),
            ("a  'b", "a  'b"),
            ("echo \"$(echo \"a  b\")\"", "echo \"$(echo \"a  b\")\""),
            ("a  # it's  b", "a  # it's  b"),
        ] {
            assert_eq!(one_blank_apart(text), expected);
        }
    }

    #[test]
    fn spelling_makes_no_difference_and_meaning_does() {
        let plain = canonical("FROM x AS base\nRUN a b\nCOPY --link c d\nENV A=\"1\" B=2\n").unwrap();
        for same in [
            "# why\nfrom  x  as Base\n\nrun  a \\\n # aside\n\n  b\ncopy  --link   c  d\nenv A=\"1\"  B=2",
            "FROM x AS base\r\nRUN a b\r\nCOPY --link c \\\r\n d\r\nENV A=\"1\" \\\r\n B=2\r\n",
        ] {
            assert_eq!(canonical(same).unwrap(), plain, "{same}");
        }
        for other in [
            "FROM X AS base\nRUN a b\nCOPY --link c d\nENV A=\"1\" B=2\n",
            "FROM x AS base\nRUN ab\nCOPY --link c d\nENV A=\"1\" B=2\n",
            "FROM x AS base\nRUN [\"a\", \"b\"]\nCOPY --link c d\nENV A=\"1\" B=2\n",
            "FROM x AS base\nRUN a b\nCOPY c d\nENV A=\"1\" B=2\n",
            "FROM x AS base\nRUN a b\nCOPY --link c d\nENV A=\"1 \" B=2\n",
            "FROM x AS base\nRUN a b\nCOPY --link c d\nENV A=\"1\"\nENV B=2\n",
            "# escape=`\nFROM x AS base\nRUN a b\nCOPY --link c d\nENV A=\"1\" B=2\n",
        ] {
            assert_ne!(canonical(other).unwrap(), plain, "{other}");
        }
        let document = |text: &str| canonical(&format!("RUN cat <<E  >x\n{text}\nE\n")).unwrap();
        assert_ne!(document("a b"), document("a  b"));
        assert_ne!(document("a"), document("# aside\na"));
        let shell = |run: &str| canonical(&format!("SHELL [\"x\"]\nRUN {run}\n")).unwrap();
        assert_ne!(shell("a b"), shell("a  b"), "another shell may see it");
    }
}
