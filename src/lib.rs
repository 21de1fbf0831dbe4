//! Lapstrake assembles OCI images without a daemon: the cost of a build is the size of the change.
//!
//! It reads a parent image's manifest from a registry, writes layers for Python requirements and for source
//! files itself, changes the config, and pushes what the target does not have. Nothing is executed.
//!
//! # Code map
//! Modules stand on floors and import from lower floors only, which `tests/it/floors.rs` holds.
//!
//! | floor | module | what it is for |
//! | --- | --- | --- |
//! | 4, use cases | [`ops`] | plan, build, inspect: order, concurrency and wiring |
//! | 3, the outside world | [`inputs`] | facts of this machine: the source walk, requirement files |
//! | | [`resolver`] | uv as a child process: requirements become a lock; wheels are fetched |
//! | | [`backend`] | BuildKit and others: images of what only a Dockerfile can say |
//! | | [`registry`] | the trait `Registry`; its HTTP client and its in-memory twin |
//! | | [`artifacts`] | artifact stores: folders and buckets that archives of code are put into |
//! | | [`serve`] | the embedded registry server |
//! | | [`store`] | the local content-addressed store; OCI layouts and Docker archives |
//! | 2, decisions without I/O | [`plan`] | layers, their keys, and what is done for each |
//! | | [`dockerfile`] | Dockerfiles read, what their RUN lines do, and the one that stands for an image |
//! | | [`python`] | wheels, install schemes, locks, the interpreter of an image |
//! | | [`image`] | an image put together; the files of a parent image |
//! | | [`layer`] | tar and gzip, written and read |
//! | 1, words | [`settings`] | the configuration file |
//! | | [`oci`] | references, digests, descriptors, manifests, configs, platforms |
//! | | [`event`], [`diagnostic`] | what a use case tells; how an error names its cure |
//!
//! A build is [`ops::plan()`], then one [`ops::build()`]: facts and the parent become a plan, which is data; for each
//! layer of the plan the blob is reused, moved or made; [`image::assemble`] joins parent, layers and config change;
//! blobs, config, manifest and tags are pushed in that order.
//!
//! The library never prints, never exits, and reads neither the environment nor the clock: the command line
//! does, and passes values down.
//!
//! # Example
//! An image of one layer, assembled and pushed within memory:
//! ```
//! use std::collections::BTreeMap;
//!
//! use lapstrake::image::{AddedLayer, ConfigChange, ParentImage, assemble};
//! use lapstrake::layer::{Entry, EntryKind, EntryPath, LayerWriter};
//! use lapstrake::oci::{ImageConfig, Manifest, MediaType, Raw, Reference, media_type};
//! use lapstrake::registry::{BlobBody, Memory, Registry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut writer = LayerWriter::new(Vec::new());
//! let kind = EntryKind::File { size: 5 };
//! let entry = Entry { path: EntryPath::parse("hello.txt")?, kind, mode: 0o644, uid: 0, gid: 0, mtime: 0 };
//! writer.append_bytes(&entry, b"ahoy\n")?;
//! let (layer, blob) = writer.finish()?;
//!
//! let empty = br#"{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
//! let config = Raw::<ImageConfig>::read(empty.to_vec(), None)?;
//! let manifest = Raw::of(Manifest::new(config.descriptor(media_type::OCI_CONFIG), Vec::new()))?;
//! let parent = ParentImage {
//!     name: "docker.io/library/nothing:1".to_owned(),
//!     descriptor: manifest.descriptor(media_type::OCI_MANIFEST),
//!     manifest: manifest.value().clone(),
//!     config: config.value().clone(),
//! };
//! let (descriptor, diff_id) = (layer.descriptor.clone(), layer.diff_id);
//! let added = AddedLayer { descriptor, diff_id, title: "a greeting".to_owned() };
//! let image = assemble(&parent, &[added], &ConfigChange::default(), BTreeMap::new())?;
//!
//! let (registry, name) = (Memory::new(), Reference::parse("registry.example/hello:1")?);
//! let (at, config) = (name.repository(), image.config.descriptor(media_type::OCI_CONFIG));
//! registry.push_blob(&at, &layer.descriptor, BlobBody::Bytes(blob.into()), &|_| ()).await?;
//! registry.push_blob(&at, &config, BlobBody::Bytes(image.config.bytes().to_vec().into()), &|_| ()).await?;
//! registry.push_manifest(&name, &MediaType::new(media_type::OCI_MANIFEST), image.manifest.bytes()).await?;
//! let found = registry.resolve(&name).await?.map(|found| found.digest);
//! assert_eq!(found.as_ref(), Some(image.manifest.digest()));
//! # Ok(())
//! # }
//! ```

pub mod artifacts;
pub mod backend;
pub mod diagnostic;
pub mod dockerfile;
pub mod event;
pub mod image;
pub mod inputs;
pub mod layer;
pub mod oci;
pub mod ops;
pub mod plan;
pub mod python;
pub mod registry;
pub mod resolver;
pub mod serve;
pub mod settings;
pub mod store;
