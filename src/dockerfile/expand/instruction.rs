//! Which fields of which instruction are expanded, and in which way.
//!
//! `ARG` is left alone: a default counts only without a build argument, and sees the names before it.

use super::super::mount::Mount;
use super::super::types::{Copy, InstructionKind, Run};
use super::{ExpandError, Lookup, expand_document, expand_word, expand_words};

impl InstructionKind {
    /// The instruction with the fields expanded that BuildKit expands; the others are as they were.
    ///
    /// Commands are the shell's to expand, `ARG` the caller's, and a trigger's time comes later. `--from` and `--exclude` of
    /// `COPY` are never expanded.
    ///
    /// # Errors
    /// Fails as [`expand_word`] does, and for a mount that is none once it is expanded.
    pub fn expanded(&self, escape: char, lookup: &Lookup<'_>) -> Result<Self, ExpandError> {
        let word = |word: &String| expand_word(word, escape, lookup);
        let pair = |(name, value): &(String, String)| Ok((word(name)?, word(value)?));
        Ok(match self {
            Self::Env(pairs) => Self::Env(pairs.iter().map(pair).collect::<Result<_, _>>()?),
            Self::Label(pairs) => Self::Label(pairs.iter().map(pair).collect::<Result<_, _>>()?),
            Self::Workdir(path) => Self::Workdir(word(path)?),
            Self::User(user) => Self::User(word(user)?),
            Self::StopSignal(signal) => Self::StopSignal(word(signal)?),
            Self::Volume(paths) => Self::Volume(paths.iter().map(word).collect::<Result<_, _>>()?),
            Self::Expose(ports) => {
                let ports = ports.iter().map(|port| expand_words(port, escape, lookup));
                Self::Expose(ports.collect::<Result<Vec<_>, _>>()?.concat())
            }
            Self::Copy(copy) => Self::Copy(copy.expanded(escape, lookup)?),
            Self::Add(copy) => Self::Add(copy.expanded(escape, lookup)?),
            Self::Run(run) => Self::Run(run.expanded(escape, lookup)?),
            Self::Arg(_)
            | Self::Cmd(_)
            | Self::Entrypoint(_)
            | Self::Healthcheck(_)
            | Self::Shell(_)
            | Self::Maintainer(_)
            | Self::OnBuild(_) => self.clone(),
        })
    }
}

impl Copy {
    fn expanded(&self, escape: char, lookup: &Lookup<'_>) -> Result<Self, ExpandError> {
        let word = |word: &String| expand_word(word, escape, lookup);
        let flag = |flag: &Option<String>| flag.as_ref().map(word).transpose();
        let mut copy = Self {
            chown: flag(&self.chown)?,
            chmod: flag(&self.chmod)?,
            checksum: flag(&self.checksum)?,
            sources: self.sources.iter().map(word).collect::<Result<_, _>>()?,
            destination: word(&self.destination)?,
            ..self.clone()
        };
        for document in copy.documents.iter_mut().filter(|document| document.expand) {
            document.content = expand_document(&document.content, lookup)?;
        }
        Ok(copy)
    }
}

impl Run {
    fn expanded(&self, escape: char, lookup: &Lookup<'_>) -> Result<Self, ExpandError> {
        let mounts = self.mounts.iter().map(|mount| Mount::expanded(&mount.text, escape, lookup));
        Ok(Self { mounts: mounts.collect::<Result<_, _>>()?, ..self.clone() })
    }
}
