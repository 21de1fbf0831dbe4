//! What the instructions of a Dockerfile hold.
//!
//! Nothing is parsed here.

/// A here-document of `COPY`, `ADD` or `RUN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HereDocument {
    /// Its name, the word behind `<<`.
    pub name: String,
    /// Its lines.
    pub content: String,
    /// Whether variables in it are expanded: the word was not quoted.
    pub expand: bool,
}

/// `COPY` or `ADD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Sources, as written.
    pub sources: Vec<String>,
    /// Here-documents among the sources.
    pub documents: Vec<HereDocument>,
    /// Destination, as written.
    pub destination: String,
    /// `--from`.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--unpack`.
    pub unpack: Option<bool>,
}
