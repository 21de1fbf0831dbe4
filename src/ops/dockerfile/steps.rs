//! What is done about each instruction, for people.
//!
//! Data only; `evaluate` fills it in.

use std::ops::Range;

/// How an instruction is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Here, without running anything.
    Native,
    /// By a backend.
    Backend,
    /// Not at all: what it makes is there.
    Reused,
}

impl How {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Backend => "backend",
            Self::Reused => "reused",
        }
    }
}

/// One instruction of a Dockerfile and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructionStep {
    /// The stage: its name, else its number.
    pub stage: String,
    /// The line that it begins on, from 1.
    pub line: usize,
    /// Its text, lines joined.
    pub text: String,
    /// What is done.
    pub how: How,
    /// Why, as a clause.
    pub why: String,
    /// Which layers of its stage are its own.
    pub(super) layers: Range<usize>,
}

impl InstructionStep {
    /// The step of an instruction that is carried out here.
    pub(super) fn native(stage: String, line: usize, text: &str, why: impl Into<String>) -> Self {
        let text = text.lines().map(|line| line.trim().trim_end_matches('\\').trim_end()).collect::<Vec<_>>().join(" ");
        Self { stage, line, text, how: How::Native, why: why.into(), layers: 0..0 }
    }
}
