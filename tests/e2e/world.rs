//! What the cases share: folders, servers, parents and the main build, each made when first asked for.
//!
//! What failed once stays failed: the cases that need it say why and do not try again.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::clients::Client;
use crate::harness::Halt;
use crate::image::Unpacked;
use crate::parents::{self, Parent};
use crate::project::{Build, Project};
use crate::registries::{Door, Maker, Registry};
use crate::rootfs;
use crate::servers::{Dockerd, EmbeddedRegistry};

type Once<T> = OnceCell<Result<T, Halt>>;

/// The shared parts.
pub(crate) struct World {
    /// Kept between runs.
    pub(crate) cache: PathBuf,
    /// Of this run alone, and removed at its end.
    pub(crate) work: PathBuf,
    dockerd: Once<Dockerd>,
    registry: Once<Registry>,
    embedded: Once<EmbeddedRegistry>,
    plain: Once<Parent>,
    venv: Once<Parent>,
    arm64: Once<Parent>,
    index: Once<Parent>,
    small: Once<Parent>,
    laden: Once<Parent>,
    slim: Once<Parent>,
    slim_venv: Once<Parent>,
    embedded_slim: Once<Parent>,
    project: Once<Project>,
    main: Once<Build>,
    unpacked: Once<Unpacked>,
}

fn once<T>(cell: &Once<T>, make: impl FnOnce() -> Result<T, Halt>) -> Result<&T, Halt> {
    cell.get_or_init(make).as_ref().map_err(Clone::clone)
}

/// Removes the work folders of runs that ended without doing so.
fn remove_abandoned(cache: &Path) {
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix("work-") else { continue };
        if !Path::new("/proc").join(id).exists() {
            let _ = rootfs::remove(&entry.path());
        }
    }
}

impl World {
    /// Finds the cache, and makes the work folder in it.
    pub(crate) fn new() -> std::io::Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || absolute("HOME").map_or_else(std::env::temp_dir, |home| home.join(".cache"));
        let cache = absolute("XDG_CACHE_HOME").unwrap_or_else(home).join("lapstrake-ci/e2e");
        remove_abandoned(&cache);
        let work = cache.join(format!("work-{}", std::process::id()));
        let world = Self {
            cache,
            work,
            dockerd: OnceCell::new(),
            registry: OnceCell::new(),
            embedded: OnceCell::new(),
            plain: OnceCell::new(),
            venv: OnceCell::new(),
            arm64: OnceCell::new(),
            index: OnceCell::new(),
            small: OnceCell::new(),
            laden: OnceCell::new(),
            slim: OnceCell::new(),
            slim_venv: OnceCell::new(),
            embedded_slim: OnceCell::new(),
            project: OnceCell::new(),
            main: OnceCell::new(),
            unpacked: OnceCell::new(),
        };
        std::fs::create_dir_all(&world.work)?;
        Ok(world)
    }

    /// An empty folder of this name.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf, Halt> {
        let folder = self.work.join(name);
        rootfs::remove(&folder)?;
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A folder below the work folder, as it is.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    pub(crate) fn registry(&self) -> Result<&Registry, Halt> {
        once(&self.registry, || Registry::start(Maker::Debian, &self.folder("docker-registry"), &Door::default()))
    }

    pub(crate) fn embedded(&self) -> Result<&EmbeddedRegistry, Halt> {
        once(&self.embedded, || EmbeddedRegistry::start(&self.folder("embedded-registry")))
    }

    pub(crate) fn dockerd(&self) -> Result<&Dockerd, Halt> {
        once(&self.dockerd, || Dockerd::start(&self.folder("dockerd")))
    }

    pub(crate) fn plain(&self) -> Result<&Parent, Halt> {
        once(&self.plain, || parents::plain(self))
    }

    pub(crate) fn venv(&self) -> Result<&Parent, Halt> {
        once(&self.venv, || parents::venv(self))
    }

    pub(crate) fn arm64(&self) -> Result<&Parent, Halt> {
        once(&self.arm64, || parents::arm64(self))
    }

    pub(crate) fn index(&self) -> Result<&Parent, Halt> {
        once(&self.index, || parents::index(self))
    }

    /// The demo's parent in docker-registry.
    pub(crate) fn small(&self) -> Result<&Parent, Halt> {
        once(&self.small, || parents::small(self, &Client::default(), &self.registry()?.address, 0))
    }

    /// The same with ten layers of 300 kB more.
    pub(crate) fn laden(&self) -> Result<&Parent, Halt> {
        once(&self.laden, || parents::small(self, &Client::default(), &self.registry()?.address, 10))
    }

    /// The slim parent in docker-registry.
    pub(crate) fn slim(&self) -> Result<&Parent, Halt> {
        once(&self.slim, || parents::slim(self, &self.registry()?.address))
    }

    /// The slim parent with a virtual environment, in docker-registry.
    pub(crate) fn slim_venv(&self) -> Result<&Parent, Halt> {
        once(&self.slim_venv, || parents::slim_venv(self))
    }

    /// The slim parent in the embedded registry.
    pub(crate) fn embedded_slim(&self) -> Result<&Parent, Halt> {
        once(&self.embedded_slim, || parents::slim(self, &self.embedded()?.address))
    }

    /// The project with 46 wheels, in a folder of its own, with the store that all cases share.
    pub(crate) fn project(&self) -> Result<&Project, Halt> {
        once(&self.project, || Project::copy(self, "project", &self.folder("store")))
    }

    /// The first build of the project upon the plain parent, in docker-registry.
    pub(crate) fn main(&self) -> Result<&Build, Halt> {
        once(&self.main, || {
            let (project, parent) = (self.project()?, self.plain()?);
            let target = format!("{}/app:main", self.registry()?.address);
            project.build(&["--parent-image", &parent.reference, "--tag", &target])
        })
    }

    /// The main image on the disk.
    pub(crate) fn unpacked(&self) -> Result<&Unpacked, Halt> {
        once(&self.unpacked, || Unpacked::of(self, "main", &self.main()?.reference))
    }

    /// Where uv keeps what it downloads, between runs.
    pub(crate) fn uv_cache(&self) -> PathBuf {
        self.cache.join("uv")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Servers hold files below the work folder: they end first.
        self.dockerd.take();
        self.registry.take();
        self.embedded.take();
        let keep = std::env::var_os("LAPSTRAKE_E2E_KEEP").is_some();
        if !keep {
            let _ = rootfs::remove(Path::new(&self.work));
        }
    }
}
