//! A Dockerfile's text as stages with typed instructions.
//!
//! No base image, file or variable is looked up.

use super::directive::named;
use super::error::{DockerfileError, Problem};
use super::expand::ExpandError;
use super::instruction::{arguments, from, kind};
use super::node::{Node, read_nodes};
use super::types::{ArgBeforeFrom, Directives, Dockerfile, Instruction, Stage};

impl Dockerfile {
    /// Reads the text of a Dockerfile.
    ///
    /// # Errors
    /// Fails for what BuildKit refuses, with the place, and for triggers of `ONBUILD` that will not work once they are due.
    pub fn parse(text: &str) -> Result<Self, DockerfileError> {
        let read = read_nodes(text)?;
        let directives = Directives {
            syntax: named("syntax", text).map(str::to_owned),
            escape: read.escape,
            check: named("check", text).map(str::to_owned),
        };
        let mut dockerfile = Self { directives, args: Vec::new(), stages: Vec::new() };
        for node in &read.nodes {
            dockerfile.add(node).map_err(|problem| DockerfileError::within(&node.text, node.lines.first, problem))?;
        }
        match dockerfile.stages.is_empty() {
            true => Err(DockerfileError::of_file(Problem::NoFrom)),
            false => Ok(dockerfile),
        }
    }

    fn add(&mut self, node: &Node) -> Result<(), Problem> {
        let keyword = node.keyword.to_uppercase();
        let (lines, text) = (node.lines, node.text.clone());
        match self.stages.last_mut() {
            _ if keyword == "FROM" => {
                let head = from(node)?;
                let (base, platform, name) = (head.base, head.platform, head.name);
                self.stages.push(Stage { base, platform, name, lines, text, instructions: Vec::new() });
            }
            Some(stage) => {
                let kind = kind(node, self.directives.escape)?;
                stage.instructions.push(Instruction { lines, text, kind });
            }
            None if keyword == "ARG" => {
                let named = arguments(node)?.into_iter();
                self.args.extend(named.map(|(name, default)| ArgBeforeFrom { lines, name, default }));
            }
            None => {
                kind(node, self.directives.escape)?;
                return Err(Problem::BeforeFrom(node.keyword.clone()));
            }
        }
        Ok(())
    }
}

impl Instruction {
    /// The error that expanding it gave, with its place in the file.
    pub fn failed(&self, error: ExpandError) -> DockerfileError {
        DockerfileError::within(&self.text, self.lines.first, error.into())
    }
}

impl Stage {
    /// The error that expanding its `FROM` gave, with its place in the file.
    pub fn failed(&self, error: ExpandError) -> DockerfileError {
        DockerfileError::within(&self.text, self.lines.first, error.into())
    }
}
