//! Which stages a build needs, and in which order they come.
//!
//! Only names are looked at; what a stage does is the business of whoever evaluates it.

use std::collections::BTreeSet;

use super::expand::ExpandError;
use super::types::{Dockerfile, InstructionKind, Stage};

/// What `FROM`, `COPY --from` or a mount names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A stage of the same file, by its position.
    Stage(usize),
    /// An image without anything in it.
    Scratch,
    /// An image, as it was written.
    Image(String),
}

/// Why a stage cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// There is no stage of this name.
    #[error("the Dockerfile has no stage `{name}`")]
    NoStage {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The name of an image is empty once its variables are expanded.
    #[error("line {line}: `FROM {written}` names no image")]
    NoImage {
        /// What is written.
        written: String,
        /// Where.
        line: usize,
    },
    /// A word cannot be expanded.
    #[error("line {line}: `FROM {written}` cannot be expanded")]
    Expand {
        /// What is written.
        written: String,
        /// Where.
        line: usize,
        /// Why.
        #[source]
        source: ExpandError,
    },
}

impl crate::diagnostic::Diagnose for StageError {
    fn class(&self) -> crate::diagnostic::Class {
        crate::diagnostic::Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoStage { known, .. } if known.is_empty() => "its stages have no names; count them from 0".into(),
            Self::NoStage { known, .. } => format!("its stages are `{}`", known.join("`, `")),
            Self::NoImage { .. } => "give the argument a default before the first `FROM`, or pass `--build-arg`".into(),
            Self::Expand { .. } => "see the quotes and braces of its variables".into(),
        })
    }
}

impl Dockerfile {
    /// The position of the stage that `--target` names, by name or number; the last without one.
    ///
    /// # Errors
    /// Fails when there is no such stage.
    pub fn stage(&self, target: Option<&str>) -> Result<usize, StageError> {
        let Some(target) = target else { return Ok(self.stages.len().saturating_sub(1)) };
        let named = self.stage_before(self.stages.len(), target);
        named.ok_or_else(|| StageError::NoStage {
            name: target.to_owned(),
            known: self.stages.iter().filter_map(|stage| stage.name.clone()).collect(),
        })
    }

    /// What the stage at `position` is told by `word`, in `COPY --from` or a mount; a later stage has no name there yet.
    pub fn origin(&self, position: usize, word: &str) -> Origin {
        match self.stage_before(position, word) {
            Some(stage) => Origin::Stage(stage),
            None if word == "scratch" => Origin::Scratch,
            None => Origin::Image(word.to_owned()),
        }
    }

    fn stage_before(&self, position: usize, word: &str) -> Option<usize> {
        let lower = word.to_ascii_lowercase();
        let is_named = |stage: &Stage| stage.name.as_deref() == Some(lower.as_str());
        let named = self.stages[..position].iter().rposition(is_named);
        named.or_else(|| word.parse().ok().filter(|number| *number < position))
    }

    /// What the stage at `position` begins with; `lookup` knows the global arguments.
    ///
    /// # Errors
    /// Fails when the name cannot be expanded, or comes to nothing.
    pub fn base(&self, position: usize, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Origin, StageError> {
        let stage = &self.stages[position];
        let (written, line) = (stage.base.clone(), stage.lines.first);
        let word = super::expand::expand_word(&stage.base, self.directives.escape, lookup);
        let word = word.map_err(|source| StageError::Expand { written: written.clone(), line, source })?;
        if word.is_empty() {
            return Err(StageError::NoImage { written, line });
        }
        // Numbers name no stage in `FROM`.
        let is_number = word.parse::<usize>().is_ok();
        Ok(if is_number { Origin::Image(word) } else { self.origin(position, &word) })
    }

    /// The stages that the one at `target` needs, itself last, each after all that it needs.
    ///
    /// # Errors
    /// Fails as [`Dockerfile::base`] does for one of them.
    pub fn needed(&self, target: usize, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<usize>, StageError> {
        let mut needed = BTreeSet::from([target]);
        // Whatever a stage refers to stands before it.
        for position in (0..=target).rev() {
            if !needed.contains(&position) {
                continue;
            }
            let mut named = vec![self.base(position, lookup)?];
            let words = self.stages[position].instructions.iter().flat_map(|instruction| instruction.kind.origins());
            named.extend(words.map(|word| self.origin(position, word)));
            needed.extend(named.into_iter().filter_map(|origin| match origin {
                Origin::Stage(stage) => Some(stage),
                Origin::Scratch | Origin::Image(_) => None,
            }));
        }
        Ok(needed.into_iter().collect())
    }
}

impl InstructionKind {
    /// The words that name a stage or an image.
    pub fn origins(&self) -> Vec<&str> {
        match self {
            Self::Copy(copy) | Self::Add(copy) => copy.from.as_deref().into_iter().collect(),
            Self::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ARG V=3\nFROM python:$V AS base\nFROM base AS Builder\nRUN --mount=from=tools,target=/t true\n\
                        FROM scratch AS unused\nFROM scratch AS tools\nFROM base\nCOPY --from=builder /a /a\nCOPY --from=3 /b /b\n\
                        COPY --from=other:1 /c /c\nFROM $EMPTY AS last\n";

    #[test]
    fn only_what_is_referred_to_is_needed() {
        let file = Dockerfile::parse(TEXT).unwrap();
        let lookup = |name: &str| (name == "V").then(|| "3".to_owned());
        assert_eq!(file.needed(4, &lookup).unwrap(), [0, 1, 3, 4]);
        assert_eq!(file.needed(1, &lookup).unwrap(), [0, 1], "a stage that comes later is an image's name");
        assert_eq!(file.base(0, &lookup).unwrap(), Origin::Image("python:3".into()));
        assert_eq!(file.base(4, &lookup).unwrap(), Origin::Stage(0));
        assert_eq!(file.origin(4, "other:1"), Origin::Image("other:1".into()));
        assert!(matches!(file.base(5, &lookup), Err(StageError::NoImage { line: 11, .. })));
    }

    #[test]
    fn a_target_is_a_name_or_a_number() {
        let file = Dockerfile::parse(TEXT).unwrap();
        assert_eq!(file.stage(None).unwrap(), 5);
        assert_eq!(file.stage(Some("BUILDER")).unwrap(), 1);
        assert_eq!(file.stage(Some("2")).unwrap(), 2);
        assert!(matches!(file.stage(Some("nope")), Err(StageError::NoStage { .. })));
    }
}
