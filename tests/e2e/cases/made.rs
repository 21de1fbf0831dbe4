//! Wheels that are made on this machine, by the real uv and its build backends, run inside the image.

use crate::harness::{Case, Figures, Halt, check};
use crate::image::Unpacked;
use crate::project::Project;
use crate::rootfs::chroot;
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "a folder, a source distribution and the project itself are built, once, and run", run: made },
    Case { name: "a C extension is refused for a platform that this machine is not", run: foreign },
];

const LIBRARY: &str = "[project]\nname = \"thwart\"\nversion = \"0.1\"\ndependencies = [\"idna\"]\n\
                       [build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n";
const PROJECT: &str = "[project]\nname = \"pilot\"\nversion = \"0.2\"\ndependencies = [\"six\"]\n\
                       [tool.setuptools]\npy-modules = [\"pipeline\"]\n\
                       [build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n";
const SETTINGS: &str = "settings:\n  docker:\n    requirements: requirements.txt\n    \
                        local_project_install_command: pip install .\n";

fn made(world: &World) -> Figures {
    tools::need(&["uv", "python3"])?;
    let target = format!("{}/app:made", world.registry()?.address);
    let store = world.fresh("made-store")?;
    let project = Project::requiring(world, "made", &store, "./lib\ndocopt==0.6.2\n")?;
    project.write("lapstrake.yaml", SETTINGS)?;
    project.write("pyproject.toml", PROJECT)?;
    std::fs::create_dir_all(project.folder.join("lib/src/thwart"))?;
    project.write("lib/pyproject.toml", LIBRARY)?;
    project.write("lib/src/thwart/__init__.py", "SAYS = 'here'\n")?;
    let parent = &world.plain()?.reference;
    let first = project.build(&["--parent-image", parent, "--tag", &target])?;
    let image = Unpacked::of(world, "made-image", &first.reference)?;
    // The project's module is found, and not run: it imports what this copy of the project does not require.
    let script = "import docopt, idna, six, thwart, importlib.metadata as m, importlib.util as u; \
                  print(thwart.SAYS, docopt.__version__, m.version('pilot'), u.find_spec('pipeline') is not None)";
    let said = chroot(&image.root, &[("PYTHONPATH", "/nowhere")], &["python3", "-c", script])?;
    check(said.trim() == "here 0.6.2 0.2 True", || format!("it says {said}"))?;
    for left in ["lib/build", "lib/src/thwart.egg-info", "build", "pilot.egg-info"] {
        check(!project.folder.join(left).exists(), || format!("`{left}` was left in the project"))?;
    }
    // Another question, the same sources: nothing is built again.
    project.write("requirements.txt", "./lib\ndocopt==0.6.2\nidna\n")?;
    let second = project.build(&["--parent-image", parent, "--tag", &target])?;
    image.remove()?;
    Ok(vec![first.figures("built"), second.figures("one line more")])
}

fn foreign(world: &World) -> Figures {
    tools::need(&["uv", "python3", "cc"])?;
    let project = Project::requiring(world, "foreign", &world.fresh("foreign-store")?, "./lib\n")?;
    std::fs::create_dir_all(project.folder.join("lib"))?;
    let setup = "from setuptools import setup, Extension\n\
                 setup(name='thwart', version='1', ext_modules=[Extension('thwart', ['thwart.c'])])\n";
    project.write("lib/setup.py", setup)?;
    project.write("lib/thwart.c", "int thwart;\n")?;
    let target = format!("{}/app:foreign", world.registry()?.address);
    if !cfg!(target_arch = "x86_64") {
        return Err(Halt::Skipped("the foreign parent is one for arm64, which this machine runs".to_owned()));
    }
    let other = "linux/arm64";
    let parent = &world.arm64()?.reference;
    let said = project.refused(1, &["--parent-image", parent, "--tag", &target, "--platform", other])?;
    let expected = format!("`./lib` builds a C extension for {other}, which this machine is not");
    check(said.contains(&expected), || said.clone())?;
    Ok(vec![expected])
}
