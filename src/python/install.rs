//! What installing a wheel leaves behind, file by file (PEP 427, "Installing a wheel").
//!
//! The result equals what `uv pip install` leaves, down to the order of RECORD's rows. Nothing is written here;
//! `write` does that.

use std::collections::{BTreeMap, BTreeSet};

use super::InstallScheme;
use super::entry_points::{self, EntryPoint, EntryPoints};
use super::record::{self, Checker, RecordRow};
use super::wheel::{Refusal, Wheel, WheelError};
use super::zip::Member;
use crate::layer::EntryPath;

/// The most that a script whose first line is rewritten may have, in bytes.
const SCRIPT_LIMIT: u64 = 16 << 20;

/// What the installer adds to the wheel's own files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallOptions {
    /// The interpreter's version, for pip's own scripts.
    pub python_version: (u32, u32),
    /// Whether the distribution was asked for directly (writes REQUESTED).
    pub requested: bool,
    /// The content of `direct_url.json`, for a requirement by URL (PEP 610).
    pub direct_url: Option<String>,
    /// The content of INSTALLER.
    pub installer: String,
    /// Whose way of placing it is.
    pub manner: Manner,
}

/// Where a file's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The archive's member of this index.
    Member(usize),
    /// Bytes made at installation.
    Bytes(Vec<u8>),
}

/// One file to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledFile {
    /// Where.
    pub path: EntryPath,
    /// 0755 or 0644.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// The content.
    pub source: Source,
}

/// All that installing a wheel leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// The files, sorted by path.
    pub files: Vec<InstalledFile>,
    /// The folders in which no file lies, sorted.
    pub empty_folders: Vec<EntryPath>,
}

impl Wheel {
    /// What installing the wheel with `scheme` and `options` leaves behind.
    ///
    /// # Errors
    /// Fails when entry points, scripts or the `.data` folder are malformed, or when a file cannot be placed.
    pub fn plan_install(&self, scheme: &InstallScheme, options: &InstallOptions) -> Result<Installation, WheelError> {
        Planner::new(self, scheme).and_then(|planner| planner.plan(options)).map_err(|reason| self.refused(reason))
    }
}

impl Installation {
    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Splits the installation into parts of at most `max_bytes`, as far as single files allow.
    ///
    /// A folder stays whole when it fits; otherwise its entries are looked at one by one, in path order. The pieces
    /// are then put together in path order while they fit. The parts thus depend on the wheel and the scheme alone.
    #[must_use]
    pub fn parts(self, max_bytes: u64) -> Vec<Self> {
        if self.size() <= max_bytes {
            return vec![self];
        }
        let mut pieces = Vec::new();
        pieces_of(&self.files, 0, max_bytes, &mut pieces);
        let mut parts = vec![Self { files: Vec::new(), empty_folders: self.empty_folders }];
        let mut filled = 0_u64;
        let mut files = self.files.into_iter();
        for (count, bytes) in pieces {
            if filled > 0 && filled.saturating_add(bytes) > max_bytes {
                parts.push(Self::default());
                filled = 0;
            }
            filled = filled.saturating_add(bytes);
            if let Some(part) = parts.last_mut() {
                part.files.extend(files.by_ref().take(count));
            }
        }
        parts
    }
}

/// Pushes the number of files and of bytes of each piece of `files`, which share their first `prefix` bytes.
fn pieces_of(files: &[InstalledFile], prefix: usize, max_bytes: u64, pieces: &mut Vec<(usize, u64)>) {
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    if bytes <= max_bytes || files.len() == 1 {
        pieces.push((files.len(), bytes));
        return;
    }
    let head = |file: &InstalledFile| {
        let rest = &file.path.as_bytes()[prefix..];
        prefix + rest.iter().position(|byte| *byte == b'/').map_or(rest.len(), |slash| slash + 1)
    };
    for chunk in files.chunk_by(|one, other| {
        let end = head(one);
        end == head(other) && one.path.as_bytes()[..end] == other.path.as_bytes()[..end]
    }) {
        pieces_of(chunk, head(&chunk[0]), max_bytes, pieces);
    }
}

struct Planner<'a> {
    wheel: &'a Wheel,
    scheme: &'a InstallScheme,
    site: &'a str,
    /// Whether it is pip's `--target`, where programs lie in a folder among the packages.
    is_moved: bool,
    manner: Manner,
    rows: Vec<RecordRow>,
    /// Which row describes a path of the archive.
    row_of: BTreeMap<String, usize>,
    files: BTreeMap<EntryPath, InstalledFile>,
    folders: BTreeSet<EntryPath>,
}

impl<'a> Planner<'a> {
    fn new(wheel: &'a Wheel, scheme: &'a InstallScheme) -> Result<Self, Refusal> {
        let site = if wheel.root_is_purelib { &scheme.purelib } else { &scheme.platlib };
        for folder in [site, &scheme.purelib, &scheme.platlib, &scheme.scripts, &scheme.include, &scheme.data] {
            let plain = folder.strip_prefix('/').is_some_and(|path| path.is_empty() || EntryPath::parse(path).is_ok());
            if !plain {
                return Err(Refusal::Scheme(folder.clone()));
            }
        }
        let rows = wheel.rows.clone();
        let mut row_of = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            row_of.entry(row.path.clone()).or_insert(index);
        }
        let (files, folders) = (BTreeMap::new(), BTreeSet::new());
        let manner = Manner::default();
        Ok(Self { wheel, scheme, site, is_moved: false, manner, rows, row_of, files, folders })
    }

    /// Root, entry points, `.data`, metadata, RECORD: what comes later wins a path, as in uv.
    fn plan(mut self, options: &InstallOptions) -> Result<Installation, Refusal> {
        let is_below = self.scheme.scripts.strip_prefix(self.site).is_some_and(|rest| rest.starts_with('/'));
        self.is_moved = is_below && options.installer.trim_end() == "pip";
        self.manner = options.manner;
        let data = format!("{}.data", self.wheel.stem);
        let below = |member: &Member| {
            member.name.strip_prefix(&*data).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let members = self.wheel.archive.members();
        for (index, member) in members.iter().enumerate().filter(|(_, member)| !below(member)) {
            self.place(index, member, self.site, &member.name)?;
        }
        let points = match &self.wheel.entry_points {
            Some(text) => EntryPoints::parse(text, options.python_version.1)?,
            None => EntryPoints::default(),
        };
        if self.manner == Manner::Virtualenv {
            return self.placed_by_virtualenv(&points, options);
        }
        for point in points.console.iter().chain(&points.gui) {
            let script = self.manner.script(point, &entry_points::shebang(&self.scheme.interpreter));
            self.add(&self.scheme.scripts.clone(), &point.name, script.into_bytes(), 0o755)?;
        }
        for (index, member) in members.iter().enumerate().filter(|(_, member)| below(member)) {
            self.place_data(index, member, &member.name[data.len()..], &points)?;
        }
        self.add_metadata(options)?;
        self.finish()
    }

    /// Places a member as it is below the folder `base`.
    fn place(&mut self, index: usize, member: &Member, base: &str, rest: &str) -> Result<(), Refusal> {
        let path = entry_path(base, rest)?;
        if member.folder {
            if !matches!(self.manner, Manner::Pip | Manner::Poetry) {
                self.folders.insert(path);
            }
            return Ok(());
        }
        let mode = self.mode_of(member);
        self.put(InstalledFile { path, mode, size: member.size, source: Source::Member(index) });
        Ok(())
    }

    /// Places a member of the `.data` folder; `rest` is its path below, with a leading slash.
    fn place_data(&mut self, index: usize, member: &Member, rest: &str, points: &EntryPoints) -> Result<(), Refusal> {
        let Some(rest) = rest.strip_prefix('/') else { return Ok(()) };
        let (kind, below) = rest.split_once('/').unwrap_or((rest, ""));
        let headers = format!("{}/{}", self.scheme.include, self.manner.headers(&self.wheel.filename().name));
        let base = match kind {
            "data" => self.scheme.data.clone(),
            "headers" => headers,
            "platlib" => self.scheme.platlib.clone(),
            "purelib" => self.scheme.purelib.clone(),
            "scripts" if below.is_empty() && member.folder => return Ok(()),
            "scripts" => return self.place_script(index, member, below, points),
            _ => return Err(Refusal::DataFolder(member.name.to_string())),
        };
        if below.is_empty() {
            return if member.folder { Ok(()) } else { Err(Refusal::DataFolder(member.name.to_string())) };
        }
        self.place(index, member, &base, below)?;
        if !member.folder {
            self.rename_row(member, &base, below);
        }
        Ok(())
    }

    /// Places a script of `.data/scripts`; one that an entry point makes is left out, but keeps its row, as in uv.
    fn place_script(&mut self, index: usize, member: &Member, name: &str, points: &EntryPoints) -> Result<(), Refusal> {
        if member.folder || name.contains('/') {
            return Err(Refusal::ScriptFolder(member.name.to_string()));
        }
        let suffixes = [".exe", "-script.py", ".pya"];
        let launched = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let made = |point: &EntryPoint| point.name == launched;
        if points.console.iter().chain(&points.gui).any(made) {
            return Ok(());
        }
        entry_points::check_script_name(name)?;
        let base = self.scheme.scripts.clone();
        self.rename_row(member, &base, name);
        let path = entry_path(&base, name)?;
        let mode = if self.manner == Manner::Poetry { self.mode_of(member) } else { 0o755 };
        const PLACEHOLDER: &[u8] = b"#!python";
        if self.wheel.archive.peek(member, PLACEHOLDER.len() as u64)? != PLACEHOLDER {
            self.put(InstalledFile { path, mode, size: member.size, source: Source::Member(index) });
            return Ok(());
        }
        let content = self.wheel.archive.read(member, SCRIPT_LIMIT)?;
        if let Some(digest) = &self.wheel.digests[index] {
            let mut checker = Checker::new(digest);
            checker.update(&content);
            checker.finish(&member.name)?;
        }
        let body = content.iter().position(|byte| *byte == b'\n').map_or(&[][..], |end| &content[end + 1..]);
        let line = entry_points::shebang(&self.scheme.interpreter);
        let script = [line.as_bytes(), b"\n", body].concat();
        if let Some(row) = self.row_of.get(&*member.name) {
            self.rows[*row] = RecordRow::of(self.rows[*row].path.clone(), &script);
        }
        self.put(InstalledFile { path, mode, size: script.len() as u64, source: Source::Bytes(script) });
        Ok(())
    }

    fn add_metadata(&mut self, options: &InstallOptions) -> Result<(), Refusal> {
        let site = self.site.to_owned();
        let at = |name: &str| format!("{}.dist-info/{name}", self.wheel.stem);
        let (requested, direct_url, installer) = (at("REQUESTED"), at("direct_url.json"), at("INSTALLER"));
        if options.requested {
            self.add(&site, &requested, Vec::new(), 0o644)?;
        }
        if let Some(content) = &options.direct_url {
            self.add(&site, &direct_url, content.clone().into_bytes(), 0o644)?;
        }
        self.add(&site, &installer, options.installer.clone().into_bytes(), 0o644)
    }

    fn finish(mut self) -> Result<Installation, Refusal> {
        self.rows.sort();
        let content = record::write(&self.rows)?;
        let path = entry_path(self.site, &format!("{}.dist-info/RECORD", self.wheel.stem))?;
        self.put(InstalledFile { path, mode: 0o644, size: content.len() as u64, source: Source::Bytes(content) });
        let mut above = BTreeSet::new();
        for path in self.files.keys().chain(&self.folders) {
            let mut parent = path.parent();
            while let Some(folder) = parent {
                parent = folder.parent();
                if !above.insert(folder) {
                    break;
                }
            }
        }
        let is_folder = |path: &&EntryPath| above.contains(*path) || self.folders.contains(*path);
        if let Some(path) = self.files.keys().find(is_folder) {
            return Err(Refusal::FileAndFolder(path.to_string()));
        }
        let empty_folders = self.folders.into_iter().filter(|folder| !above.contains(folder)).collect();
        Ok(Installation { files: self.files.into_values().collect(), empty_folders })
    }

    /// Adds a made file with its row.
    fn add(&mut self, base: &str, rest: &str, content: Vec<u8>, mode: u32) -> Result<(), Refusal> {
        let path = entry_path(base, rest)?;
        self.rows.push(RecordRow::of(self.recorded(base, rest), &content));
        self.put(InstalledFile { path, mode, size: content.len() as u64, source: Source::Bytes(content) });
        Ok(())
    }

    /// The path of RECORD for `base/rest`. For `--target` pip writes what held in a folder that it then moved.
    fn recorded(&self, base: &str, rest: &str) -> String {
        let path = relative(self.site, base, rest);
        if self.is_moved && base == self.scheme.scripts { format!("../../{path}") } else { path }
    }

    fn rename_row(&mut self, member: &Member, base: &str, rest: &str) {
        if let Some(row) = self.row_of.get(&*member.name) {
            self.rows[*row].path = self.recorded(base, rest);
        }
    }

    fn put(&mut self, file: InstalledFile) {
        self.files.insert(file.path.clone(), file);
    }
}

fn entry_path(base: &str, rest: &str) -> Result<EntryPath, Refusal> {
    let path = format!("{base}/{rest}");
    EntryPath::parse(path.trim_start_matches('/')).map_err(|_| Refusal::Scheme(path))
}

/// The path of `base/rest` relative to `site`; all are absolute and in normal form.
fn relative(site: &str, base: &str, rest: &str) -> String {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (from, to) = (parts(site), parts(&format!("{base}/{rest}")));
    let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..", from.len() - shared);
    up.chain(to[shared..].iter().map(String::as_str)).collect::<Vec<_>>().join("/")
}

mod manner;
#[cfg(test)]
mod tests;

pub use manner::Manner;
