//! Words with quotes, escapes and variables, as BuildKit expands them.
//!
//! Where the values come from is the caller's business; nothing is looked up in the environment of the build.

mod instruction;
mod pattern;
mod word;

pub use word::{ExpandError, ExpandProblem, Lookup, expand_word, expand_words};
pub(super) use word::{Lexer, Style, expand_document};
