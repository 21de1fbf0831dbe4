//! The state of a checkout: what is checked out, what differs from it, and which remotes are known to have it.
//!
//! Remotes are not asked: what the last fetch or push left is what is known.

use super::checkout::Checkout;
use super::error::GitError;
use super::remote::{Remote, RemoteUrl};

/// Whether files that git does not track count as changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untracked {
    /// They do.
    Count,
    /// They do not.
    Ignore,
}

/// What git says of a checkout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitState {
    /// The full ID of the commit that is checked out; `None` before the first commit.
    pub commit: Option<String>,
    /// The branch; `None` when the commit itself is checked out.
    pub branch: Option<String>,
    /// Whether history was cut off when the repository was cloned.
    pub is_shallow: bool,
    /// Tracked files that differ from the commit, submodules included.
    pub changed: Vec<String>,
    /// Files and folders that git does not track, unless they do not count.
    pub untracked: Vec<String>,
    /// The remotes: the branch's own first, then `origin`, then as they are configured.
    pub remotes: Vec<Remote>,
    /// Refs that contain the commit.
    holders: Vec<String>,
    /// Where the commit was last fetched from.
    fetched: Vec<RemoteUrl>,
}

impl GitState {
    /// Whether the checkout is just its commit.
    pub fn is_clean(&self) -> bool {
        self.changed.is_empty() && self.untracked.is_empty()
    }

    /// Whether the commit is known to be at `remote`: a ref of its contains it, or it was fetched from there.
    pub fn is_at(&self, remote: &Remote) -> bool {
        self.holders.iter().any(|name| remote.writes(name))
            || self.fetched.iter().any(|url| url.is_same_place(&remote.url))
    }
}

impl Checkout {
    /// Asks for the state.
    ///
    /// # Errors
    /// Fails when git does, or answers in a form that it does not document.
    pub async fn state(&self, untracked: Untracked) -> Result<GitState, GitError> {
        let (files, submodules) = match untracked {
            Untracked::Count => ("--untracked-files=normal", "--ignore-submodules=none"),
            Untracked::Ignore => ("--untracked-files=no", "--ignore-submodules=untracked"),
        };
        let status = self.ask(&["status", "--porcelain=v2", "--branch", "-z", files, submodules]).await?;
        let (mut state, upstream) = read_status(&status)?;
        let config = self.ask_perhaps(&["config", "-z", "--get-regexp", r"^remote\..*\.(url|fetch)$"]).await?;
        state.remotes = read_remotes(&config.unwrap_or_default());
        let rank = |remote: &Remote| {
            let is_own = upstream.as_ref().and_then(|name| name.strip_prefix(remote.name.as_str()));
            (!is_own.is_some_and(|rest| rest.starts_with('/')), remote.name != "origin")
        };
        state.remotes.sort_by_key(rank);
        if let Some(commit) = state.commit.clone() {
            let asked = ["for-each-ref", "--contains", &commit, "--format=%(refname)", "refs/remotes", "refs/tags"];
            let refs = self.ask(&asked).await?;
            state.holders = String::from_utf8_lossy(&refs).lines().map(str::to_owned).collect();
            let said = self.ask(&["rev-parse", "--is-shallow-repository", "--git-path", "FETCH_HEAD"]).await?;
            let said = String::from_utf8_lossy(&said);
            let (shallow, path) = said.split_once('\n').ok_or(GitError::Answer { asked: "rev-parse" })?;
            state.is_shallow = shallow == "true";
            // Absent before the first fetch, and after a clone.
            let fetched = std::fs::read(self.folder().join(path.trim_end_matches('\n'))).unwrap_or_default();
            state.fetched = read_fetched(&String::from_utf8_lossy(&fetched), &commit);
        }
        Ok(state)
    }
}

/// Reads `git status --porcelain=v2 --branch -z` (git-status, "Porcelain Format Version 2"); beside the state the
/// name of the branch's upstream.
fn read_status(bytes: &[u8]) -> Result<(GitState, Option<String>), GitError> {
    let malformed = || GitError::Answer { asked: "status" };
    let mut state = GitState::default();
    let mut upstream = None;
    let mut records = bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    while let Some(record) = records.next() {
        let text = String::from_utf8_lossy(record);
        let (kind, rest) = text.split_once(' ').ok_or_else(malformed)?;
        // How many fields stand before the path.
        let fields = match kind {
            "#" => {
                let (name, value) = rest.split_once(' ').ok_or_else(malformed)?;
                match name {
                    "branch.oid" => state.commit = Some(value.to_owned()).filter(|oid| oid != "(initial)"),
                    "branch.head" => state.branch = Some(value.to_owned()).filter(|head| head != "(detached)"),
                    "branch.upstream" => upstream = Some(value.to_owned()),
                    _ => {}
                }
                continue;
            }
            "?" => {
                state.untracked.push(rest.to_owned());
                continue;
            }
            "!" => continue,
            "1" => 7,
            "2" => 8,
            "u" => 9,
            _ => return Err(malformed()),
        };
        if kind == "2" {
            // The path that it had before stands in a record of its own.
            records.next().ok_or_else(malformed)?;
        }
        state.changed.push(rest.splitn(fields + 1, ' ').nth(fields).ok_or_else(malformed)?.to_owned());
    }
    Ok((state, upstream))
}

/// Reads `git config -z`: each record is a key, a line break and a value.
fn read_remotes(bytes: &[u8]) -> Vec<Remote> {
    let mut remotes: Vec<Remote> = Vec::new();
    let mut tracks: Vec<(String, String)> = Vec::new();
    for record in bytes.split(|byte| *byte == 0) {
        let text = String::from_utf8_lossy(record);
        let Some((key, value)) = text.split_once('\n') else { continue };
        let Some((name, what)) = key.strip_prefix("remote.").and_then(|key| key.rsplit_once('.')) else { continue };
        match what {
            // Of several URLs the first is fetched from.
            "url" if remotes.iter().all(|remote| remote.name != name) => {
                remotes.push(Remote { name: name.to_owned(), url: RemoteUrl::parse(value), tracks: Vec::new() });
            }
            "fetch" => tracks.extend(value.split_once(':').map(|(_, to)| (name.to_owned(), to.to_owned()))),
            _ => {}
        }
    }
    for remote in &mut remotes {
        let own = tracks.iter().filter(|(name, _)| *name == remote.name);
        remote.tracks = own.map(|(_, pattern)| pattern.clone()).collect();
    }
    remotes
}

/// Where `commit` was fetched from, by the lines of `FETCH_HEAD`: an ID, a mark, and `[kind 'name' of ]URL`.
fn read_fetched(text: &str, commit: &str) -> Vec<RemoteUrl> {
    let of_commit = text.lines().filter_map(|line| line.strip_prefix(commit)?.strip_prefix('\t')?.split_once('\t'));
    of_commit.map(|(_, note)| RemoteUrl::parse(note.rsplit_once(" of ").map_or(note, |(_, url)| url))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_with_renames_conflicts_and_odd_names() {
        let text = "# branch.oid 0123\0# branch.head main\0# branch.upstream fork/main\0# branch.ab +1 -0\0\
            1 .M N... 100644 100644 100644 aa bb sp ace.py\0\
            2 R. N... 100644 100644 100644 aa bb R100 new.py\0old.py\0\
            u UU N... 1 2 3 4 aa bb cc both.py\0\
            1 .M S..U 160000 160000 160000 aa aa lib\0\
            ? new\nline\0? dir/\0";
        let (state, upstream) = read_status(text.as_bytes()).unwrap();
        assert_eq!((state.commit.as_deref(), state.branch.as_deref()), (Some("0123"), Some("main")));
        assert_eq!(state.changed, ["sp ace.py", "new.py", "both.py", "lib"]);
        assert_eq!(state.untracked, ["new\nline", "dir/"]);
        assert_eq!(upstream.as_deref(), Some("fork/main"));
        let (fresh, _) = read_status(b"# branch.oid (initial)\0# branch.head (detached)\0").unwrap();
        assert_eq!((fresh.commit, fresh.branch), (None, None));
        for broken in ["x y\0", "1 .M\0", "2 R. N... 1 2 3 a b R100 new\0", "#\0"] {
            assert!(read_status(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn remotes_are_read_with_the_refs_that_they_write() {
        let config = "remote.origin.url\nhttps://u:p@git.example/a\0remote.origin.url\nhttps://second\0\
            remote.origin.fetch\n+refs/heads/*:refs/remotes/origin/*\0remote.a.b.url\ngit@x:y\0remote.origin.fetch\nHEAD\0";
        let remotes = read_remotes(config.as_bytes());
        let shown: Vec<_> = remotes.iter().map(|remote| (remote.name.as_str(), remote.url.as_str())).collect();
        assert_eq!(shown, [("origin", "https://git.example/a"), ("a.b", "git@x:y")]);
        assert_eq!(remotes[0].tracks, ["refs/remotes/origin/*"]);
    }

    #[test]
    fn fetch_head_says_where_a_commit_came_from() {
        let text =
            "aa\tnot-for-merge\tbranch 'x' of https://t@git.example/a\nbb\t\tbranch 'y' of git@x:y\naa\t\t/srv/r\n";
        let urls: Vec<String> = read_fetched(text, "aa").iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["https://git.example/a", "/srv/r"]);
        assert!(read_fetched(text, "a").is_empty());
    }
}
