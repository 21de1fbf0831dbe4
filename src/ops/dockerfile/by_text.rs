//! What takes a backend by its text alone, whatever the images hold that the file names.
//!
//! Nothing is asked of a registry. Where a variable of an image decides, or a file of it, nothing is said here.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::run::read_run;
use crate::dockerfile::{BuildArguments, Instruction, InstructionKind, Origin, Run, Scope, expand_word};
use crate::oci::Repository;
use crate::plan::files::is_remote;

use super::super::request::BuildRequest;
use super::super::segment::SegmentRequest;
use super::recipe::Recipe;

/// An instruction that takes a backend in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TakesBackend {
    /// The position of its stage.
    pub(super) stage: usize,
    /// Its first line in the file.
    pub(super) line: usize,
    /// File and line.
    pub(super) place: String,
    /// Its first line.
    pub(super) text: String,
    /// Why, as a clause.
    pub(super) reason: String,
}

impl TakesBackend {
    /// What is asked about it; its segment goes to `target`.
    pub(super) fn asked<'a>(&'a self, request: &'a BuildRequest, target: &'a Repository) -> SegmentRequest<'a> {
        SegmentRequest {
            target,
            backend: request.backend.as_deref().or(request.settings.lapstrake.backend.as_deref()),
            refresh: request.refresh_backend,
            place: Some(&self.place),
            instruction: &self.text,
            reason: &self.reason,
        }
    }
}

/// What the text says of one stage at one place.
#[derive(Clone, Debug, Default)]
struct Said {
    scope: Scope,
    /// Names whose value depends on an image.
    doubtful: BTreeSet<String>,
    shell: Option<Vec<String>>,
}

/// The instructions of the `needed` stages that take a backend in any case.
pub(super) fn takes_backend(
    recipe: &Recipe,
    needed: &[(usize, Origin)],
    arguments: &BuildArguments,
) -> Vec<TakesBackend> {
    let mut found = Vec::new();
    let mut stages: BTreeMap<usize, Said> = BTreeMap::new();
    for (position, origin) in needed {
        let mut said = match origin {
            Origin::Stage(below) => stages.get(below).cloned().unwrap_or_default(),
            Origin::Scratch | Origin::Image(_) => Said::default(),
        };
        for instruction in &recipe.file.stages[*position].instructions {
            if let Some(reason) = said.take(instruction, recipe.file.directives.escape, arguments) {
                let text = instruction.text.lines().next().unwrap_or_default().to_owned();
                let (stage, line) = (*position, instruction.lines.first);
                found.push(TakesBackend { stage, line, place: recipe.place(line), text, reason });
            }
        }
        stages.insert(*position, said);
    }
    found
}

impl Said {
    /// Goes on by one instruction; gives the reason when it takes a backend in any case.
    fn take(&mut self, instruction: &Instruction, escape: char, arguments: &BuildArguments) -> Option<String> {
        if let InstructionKind::Arg(pairs) = &instruction.kind {
            pairs.iter().for_each(|(name, default)| self.declare(name, default.as_deref(), escape, arguments));
            return None;
        }
        let (kind, in_doubt) = self.looking(|lookup| instruction.kind.expanded(escape, lookup));
        match kind.ok()? {
            InstructionKind::Env(pairs) => {
                for (name, value) in pairs {
                    self.scope.set(&name, &value);
                    self.doubt(&name, in_doubt);
                }
                None
            }
            InstructionKind::Shell(words) => {
                self.shell = Some(words);
                None
            }
            InstructionKind::Add(add) if !in_doubt => {
                let fetched = add.sources.iter().find(|source| is_remote(source))?;
                Some(format!("`{fetched}` is fetched"))
            }
            InstructionKind::Run(run) if !in_doubt => self.run(&run),
            _ => None,
        }
    }

    fn declare(&mut self, name: &str, default: Option<&str>, escape: char, arguments: &BuildArguments) {
        let (default, in_doubt) =
            self.looking(|lookup| default.map(|word| expand_word(word, escape, lookup)).transpose());
        let default = default.ok().flatten();
        let mut alone = Scope::default();
        alone.declare(name, default.as_deref(), arguments);
        self.scope.declare(name, default.as_deref(), arguments);
        // Without a value of its own it has that of the image.
        if alone.value(name).is_some() {
            self.doubt(name, in_doubt);
        }
    }

    /// Why the commands of `run` are known in no case.
    fn run(&self, run: &Run) -> Option<String> {
        // An image may name another shell than the usual one; what is read for none of them is known for no image.
        let shells = match &self.shell {
            Some(shell) => vec![shell.clone()],
            None => {
                [&[][..], &["/bin/bash", "-c"]].map(|words| words.iter().map(|&word| word.to_owned()).collect()).into()
            }
        };
        let mut reason = None;
        for shell in shells {
            let (known, in_doubt) = self.looking(|lookup| read_run(run, &shell, lookup));
            let unknown = known.err().filter(|_| !in_doubt)?;
            reason.get_or_insert_with(|| format!("`{}`: {}", unknown.command, unknown.reason));
        }
        reason
    }

    /// What `look` comes to, and whether it asked for a variable whose value depends on an image.
    fn looking<T>(&self, look: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> T) -> (T, bool) {
        let in_doubt = Cell::new(false);
        let lookup = |name: &str| {
            let value = self.scope.value(name);
            // With `BASH_ENV` a script is known in no case, so that without it no more is.
            let matters = name != "BASH_ENV" && (value.is_none() || self.doubtful.contains(name));
            in_doubt.set(in_doubt.get() || matters);
            value
        };
        let found = look(&lookup);
        (found, in_doubt.get())
    }

    fn doubt(&mut self, name: &str, in_doubt: bool) {
        if in_doubt {
            self.doubtful.insert(name.to_owned());
        } else {
            self.doubtful.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::Dockerfile;
    use crate::oci::Platform;

    /// The line of the first instruction that takes a backend, and why.
    fn found(text: &str) -> Option<(String, String)> {
        let file = Dockerfile::parse(text).unwrap();
        let target = file.stages.len() - 1;
        let recipe = Recipe { name: "F".into(), file, target, context: None, ignore: String::new() };
        let platform = Platform::new("linux", "amd64");
        let mut arguments = BuildArguments::new([("GIVEN".into(), "make".into())].into(), &platform, &platform, "");
        arguments.declare(&recipe.file.args, '\\').unwrap();
        let lookup = |name: &str| arguments.global(name);
        let needed = recipe.file.needed(target, &lookup).unwrap().into_iter();
        let needed: Vec<_> = needed.map(|at| (at, recipe.file.base(at, &lookup).unwrap())).collect();
        let found = takes_backend(&recipe, &needed, &arguments).into_iter().next();
        found.map(|found| (found.place, found.reason))
    }

    #[test]
    fn what_is_known_for_no_image_is_found_by_its_text() {
        for (lines, expected) in [
            ("RUN make world", Some("`make world`: it runs `make`")),
            ("RUN mkdir /a\nRUN apt-get update", Some("`apt-get update`: `apt-get` manages the packages")),
            ("RUN a | b", Some("it is a pipe")),
            ("ARG GIVEN\nRUN $GIVEN", Some("it runs `make`")),
            ("ENV TOOL=make\nRUN $TOOL all", Some("it runs `make`")),
            ("ADD https://a.test/b /b", Some("is fetched")),
            ("SHELL [\"powershell\"]\nRUN mkdir /a", Some("its shell is `powershell`")),
            ("FROM scratch AS b\nCOPY --from=a /x /x", Some("it runs `make`")),
            ("FROM scratch", None),
            ("RUN mkdir /a && pip install x", None),
        ] {
            let first = if lines.contains("--from=a") { "RUN make\n" } else { "" };
            let text = format!("FROM x AS a\n{first}{lines}\n");
            let reason = found(&text).map(|(_, reason)| reason);
            match expected {
                Some(part) => {
                    assert!(reason.as_ref().is_some_and(|reason| reason.contains(part)), "{text}: {reason:?}")
                }
                None => assert_eq!(reason, None, "{text}"),
            }
        }
        assert_eq!(found("FROM x\nENV A=1\nRUN make\n").unwrap().0, "F:3");
    }

    #[test]
    fn what_an_image_may_decide_is_left_alone() {
        for lines in [
            "RUN $TOOL install x",
            "ENV TOOL=$OTHER\nRUN $TOOL install x",
            "ARG TOOL\nRUN $TOOL install x",
            "ARG TOOL=$OTHER\nRUN $TOOL install x",
            "RUN source /venv/bin/activate",
            "ADD $WHERE /b",
        ] {
            assert_eq!(found(&format!("FROM x\n{lines}\n")), None, "{lines}");
        }
        let shadowed = "FROM x\nENV TOOL=$OTHER\nENV TOOL=make\nRUN $TOOL\n";
        assert!(found(shadowed).is_some(), "what the file sets itself is certain");
    }
}
