//! Carries out a `COPY` or `ADD` on paper: its sources, one after the other, and its here-documents.
//!
//! A source is the build context, or the files of another stage or image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::archive;
use super::error::CopyError;
use super::place::{Contents, Placer, entry_path};
use super::sources::SourcePath;
use super::wildcard::{Expanded, expand};
use crate::image::filesystem::{Found, Node, NodeKind, Origin, View};
use crate::inputs::context::ContextTree;
use crate::inputs::ignore::IgnoreRules;
use crate::layer::EntryPath;
use crate::oci::Digest;
use crate::plan::files::{CopyArguments, Draft, FileContent, NotNative, Placed, StageFiles};

/// How alike a path has to be to what was asked for, to be proposed instead.
const LIKENESS: f64 = 0.8;

/// What a `COPY` comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The layer, and the stage's files after it.
    pub placed: Placed,
    /// Whether some of what is copied is unknown before it is made; the layer is then not complete.
    pub is_partial: bool,
}

/// Copies from the build context. Only files that are selected are read.
///
/// # Errors
/// Fails with [`CopyError::NotNative`] for what a backend has to do: URLs, repositories, archives of a form that is not
/// unpacked here, and what depends on files that nobody knows yet. Else as BuildKit fails.
pub fn copy_from_context(
    arguments: &CopyArguments,
    context: &ContextTree,
    stage: &StageFiles,
) -> Result<Placed, CopyError> {
    // Once to see which files are selected, so that they are hashed together, then with their digests.
    let mut wanted = Wanted { context, paths: BTreeSet::new() };
    run(arguments, context.view(), &mut wanted, Some(context), stage).map_err(|error| explained(error, context))?;
    let paths: Vec<EntryPath> = wanted.paths.into_iter().collect();
    let digests = context.digests(&paths)?;
    let mut hashed = Hashed { context, digests: paths.into_iter().zip(digests).collect() };
    Ok(run(arguments, context.view(), &mut hashed, Some(context), stage)?.placed)
}

/// Copies from the files of a stage or image, which `place` names in messages.
///
/// The contents of the files that are selected are [`FileContent::Layer`], by their [`Node::origin`].
///
/// # Errors
/// As [`copy_from_context`].
pub fn copy_from_view(
    arguments: &CopyArguments,
    source: &View,
    place: &str,
    stage: &StageFiles,
) -> Result<Selection, CopyError> {
    run(arguments, source, &mut InLayers, None, stage).map_err(|error| match error {
        CopyError::Missing { source_path, .. } => {
            let near = near(source, source_path.as_bytes());
            CopyError::Missing { source_path, place: place.into(), near, is_ignored: false }
        }
        other => other,
    })
}

fn run(
    arguments: &CopyArguments,
    source: &View,
    contents: &mut dyn Contents,
    context: Option<&ContextTree>,
    stage: &StageFiles,
) -> Result<Selection, CopyError> {
    let exclude = IgnoreRules::of(&arguments.exclude)?;
    let nothing = StageFiles::default();
    let mut draft = Draft::on(if arguments.link { &nothing } else { stage });
    let mut is_partial = false;
    for written in &arguments.sources {
        if crate::plan::files::is_remote(written) {
            return Err(NotNative::because(format!("`{written}` is fetched")).into());
        }
        let asked = SourcePath::of(written, arguments.parents);
        let paths = match expand(source, &asked.path)? {
            Expanded::Named(path) => vec![path],
            Expanded::Matched(paths) => paths,
            Expanded::Unknown => {
                unknown(arguments, &mut draft)?;
                is_partial = true;
                continue;
            }
        };
        let mut has_any = false;
        for path in paths {
            let reached = source.reach(&path, true);
            let reached = reached.map_err(|source| CopyError::Source { source_path: written.clone(), source })?;
            match reached.found {
                Found::Absent if !reached.path.is_empty() => return Err(missing(written)),
                Found::Unknown if !reached.path.is_empty() => {
                    unknown(arguments, &mut draft)?;
                    (is_partial, has_any) = (true, true);
                    continue;
                }
                _ => {}
            }
            if let Some(context) = context.filter(|_| arguments.unpack)
                && reached.found.node().is_some_and(Node::is_file)
                && archive::unpack(arguments, context, &entry_path(&reached.path)?, contents, &mut draft)?
            {
                has_any = true;
                continue;
            }
            let mut placer = Placer::new(source, contents, arguments, &exclude, &mut draft);
            placer.include = asked.pattern.as_ref().map(|pattern| IgnoreRules::of([pattern])).transpose()?;
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            placer.copy(&reached.path, name)?;
            has_any |= placer.has_any;
        }
        if asked.is_required && !has_any {
            return Err(missing(written));
        }
    }
    documents(arguments, &exclude, &mut draft)?;
    is_partial |= draft.is_partial();
    let placed = draft.finish();
    Ok(Selection { placed: if arguments.link { placed.over(stage) } else { placed }, is_partial })
}

/// Says that nobody knows what is at the destination, since nobody knows what is copied there.
fn unknown(arguments: &CopyArguments, draft: &mut Draft) -> Result<(), CopyError> {
    let (view, exclude) = (View::default(), IgnoreRules::default());
    let real = Placer::new(&view, &mut InLayers, arguments, &exclude, draft).destination()?;
    match draft.view().find(&real) {
        Found::Known(node) if node.is_directory() => draft.mark_contents_unknown(&real),
        _ => draft.mark_unknown(&real),
    }
    Ok(())
}

fn documents(arguments: &CopyArguments, exclude: &IgnoreRules, draft: &mut Draft) -> Result<(), CopyError> {
    for document in &arguments.documents {
        let path = entry_path(document.name.as_bytes())?;
        let mut view = View::default();
        let size = document.content.len() as u64;
        view.put(path.clone(), Node::new(NodeKind::File { size }, 0o644, 0, 0));
        let mut text = Text(Arc::from(&document.content[..]));
        Placer::new(&view, &mut text, arguments, exclude, draft).copy(path.as_bytes(), path.file_name())?;
    }
    Ok(())
}

fn missing(written: &str) -> CopyError {
    CopyError::Missing { source_path: written.into(), place: String::new(), near: None, is_ignored: false }
}

/// The error with what only the context knows.
fn explained(error: CopyError, context: &ContextTree) -> CopyError {
    let CopyError::Missing { source_path, .. } = error else { return error };
    let clean = SourcePath::of(&source_path, false).path;
    let is_ignored = EntryPath::parse(&clean).is_ok_and(|path| context.ignores(&path));
    let near = near(context.view(), &clean);
    CopyError::Missing { source_path, place: "the build context".into(), near, is_ignored }
}

/// The path that is spelt most like `path`, as far as it exists.
fn near(view: &View, path: &[u8]) -> Option<String> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[][..], path),
    };
    let name = String::from_utf8_lossy(name).to_lowercase();
    let listing = view.list(&view.reach(parent, true).ok()?.path);
    let likeness =
        |path: &EntryPath| strsim::jaro_winkler(&name, &String::from_utf8_lossy(path.file_name()).to_lowercase());
    let (path, likeness) = listing
        .entries
        .into_iter()
        .map(|(path, _)| (path, likeness(path)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    (likeness >= LIKENESS).then(|| path.to_string())
}

/// Notes which files are selected.
struct Wanted<'a> {
    context: &'a ContextTree,
    paths: BTreeSet<EntryPath>,
}

impl Contents for Wanted<'_> {
    fn content(&mut self, path: &EntryPath, _: &Node) -> Result<FileContent, CopyError> {
        self.paths.insert(path.clone());
        Ok(FileContent::Text(Arc::default()))
    }

    fn notes_only(&self) -> bool {
        true
    }

    fn bytes(&mut self, path: &EntryPath, _: &Node) -> Result<Option<Arc<[u8]>>, CopyError> {
        Ok(Some(self.context.read(path)?.into()))
    }
}

/// Names files of the context by their digests.
struct Hashed<'a> {
    context: &'a ContextTree,
    digests: BTreeMap<EntryPath, Digest>,
}

impl Contents for Hashed<'_> {
    fn content(&mut self, path: &EntryPath, _: &Node) -> Result<FileContent, CopyError> {
        let digest = match self.digests.get(path) {
            Some(digest) => digest.clone(),
            None => self.context.digests(std::slice::from_ref(path))?.swap_remove(0),
        };
        Ok(FileContent::Context { path: path.clone(), digest })
    }

    fn bytes(&mut self, path: &EntryPath, _: &Node) -> Result<Option<Arc<[u8]>>, CopyError> {
        Ok(Some(self.context.read(path)?.into()))
    }
}

/// Names files by where they stand in the layers of the source.
struct InLayers;

impl Contents for InLayers {
    fn content(&mut self, _: &EntryPath, node: &Node) -> Result<FileContent, CopyError> {
        Ok(FileContent::Layer(node.origin.unwrap_or(Origin { layer: usize::MAX, entry: usize::MAX })))
    }

    fn bytes(&mut self, _: &EntryPath, node: &Node) -> Result<Option<Arc<[u8]>>, CopyError> {
        Ok(node.content().map(Into::into))
    }
}

/// One here-document.
struct Text(Arc<[u8]>);

impl Contents for Text {
    fn content(&mut self, _: &EntryPath, _: &Node) -> Result<FileContent, CopyError> {
        Ok(FileContent::Text(Arc::clone(&self.0)))
    }

    fn bytes(&mut self, _: &EntryPath, _: &Node) -> Result<Option<Arc<[u8]>>, CopyError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}
