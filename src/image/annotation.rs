//! The annotations that Lapstrake reads and writes.
//!
//! Names only; who believes them, and when, is decided in `plan::known`.

/// On a layer: its layer key.
pub const LAYER_KEY: &str = "dev.lapstrake.layer.key";
/// On a layer: the digest of its uncompressed tar.
pub const LAYER_DIFF_ID: &str = "dev.lapstrake.layer.diff-id";
/// On a layer: what kind of layer it is, a word of `plan::LayerKind`.
pub const LAYER_KIND: &str = "dev.lapstrake.layer.kind";
/// On a layer: what it holds, for people.
pub const LAYER_TITLE: &str = "dev.lapstrake.layer.title";
/// On a manifest or index: the plan key.
pub const PLAN_KEY: &str = "dev.lapstrake.plan.key";
/// On a manifest: the platform of the image, so that it is told without the config.
pub const PLATFORM: &str = "dev.lapstrake.platform";
/// On a manifest: the resolution key under which its Python layers were chosen.
pub const RESOLUTION_KEY: &str = "dev.lapstrake.resolution.key";
/// On a manifest: the digest of the question and of the files that uv chose for it ([`crate::resolver::Chosen`]).
pub const CHOICE: &str = "dev.lapstrake.choice.digest";
/// On a manifest: how the code comes into the container, when it is not in the image: `repository` or `archive`.
pub const CODE_DELIVERY: &str = "dev.lapstrake.code.delivery";
/// On a manifest: where in the repository the source root lies; empty for the top.
pub const CODE_SUBDIRECTORY: &str = "dev.lapstrake.code.subdirectory";
/// On a manifest: the archive of the code in an artifact store.
pub const CODE_ARCHIVE: &str = "dev.lapstrake.code.archive";
/// On a manifest: the digest of that archive.
pub const CODE_DIGEST: &str = "dev.lapstrake.code.digest";
/// On a manifest: the repository of the code (image-spec, annotations.md).
pub const SOURCE: &str = "org.opencontainers.image.source";
/// On a manifest: the commit of the code (image-spec, annotations.md).
pub const REVISION: &str = "org.opencontainers.image.revision";
/// On the record of a build: the build's name.
pub const BUILD_ID: &str = "dev.lapstrake.build.id";
/// On the record of a build: the record itself, as JSON, unless it is large.
pub const BUILD_RECORD: &str = "dev.lapstrake.build.record";
/// On the record of a build: the pipeline that it was for.
pub const BUILD_PIPELINE: &str = "dev.lapstrake.build.pipeline";
/// On the record of a build: the stack that it was for.
pub const BUILD_STACK: &str = "dev.lapstrake.build.stack";
/// On the record of a build: ZenML's checksum of it.
pub const BUILD_CHECKSUM: &str = "dev.lapstrake.build.checksum";
/// On the record of a build: under which keys the build has the image.
pub const BUILD_KEYS: &str = "dev.lapstrake.build.keys";
/// On the record of a build: when it ended (image-spec, annotations.md).
pub const CREATED: &str = "org.opencontainers.image.created";
/// On a manifest: the name of the parent (image-spec, annotations.md).
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// On a manifest: the digest of the parent (image-spec, annotations.md).
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
