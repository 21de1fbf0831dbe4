//! RUN lines as they stand in Dockerfiles of Python projects, and what is understood of them.
//!
//! A step is written in short, so that a line and its meaning stand side by side.

use std::fmt::Write as _;

use super::*;
use crate::dockerfile::{Command, Mount, MountKind, Run};

const SH: [&str; 2] = ["/bin/sh", "-c"];
const BASH: [&str; 4] = ["/bin/bash", "-o", "pipefail", "-c"];

/// The variables of the image that all lines stand in.
fn variables(name: &str) -> Option<String> {
    let value = match name {
        "HOME" => "/root",
        "PATH" => "/usr/local/bin:/usr/bin:/bin",
        "APP_HOME" => "/app",
        "VERSION" => "1.2.3",
        "PACKAGES" => "flask  gunicorn",
        "EXTRAS" => "uvicorn[standard]",
        "EMPTY" => "",
        "PATTERN" => "/tmp/*",
        "BACKSLASH" => "a\\b",
        "QUOTED" => "'a b'",
        _ => return None,
    };
    Some(value.to_owned())
}

fn mount(kind: MountKind, target: Option<&str>) -> Mount {
    Mount { kind, target: target.map(str::to_owned), ..Mount::default() }
}

fn plain(command: Command) -> Run {
    Run { command, documents: Vec::new(), mounts: Vec::new(), network: None, security: None, devices: Vec::new() }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn read_with(line: &str, shell: &[&str], more: &[(&str, &str)]) -> Result<KnownRun, NotKnown> {
    let run = plain(Command::Shell(line.to_owned()));
    let lookup = |name: &str| {
        let more = more.iter().find(|(given, _)| *given == name);
        more.map_or_else(|| variables(name), |(_, value)| Some((*value).to_owned()))
    };
    read_run(&run, &words(shell), &lookup)
}

fn read(line: &str) -> Result<KnownRun, NotKnown> {
    read_with(line, &SH, &[])
}

/// The steps in short, those that do nothing left out.
fn short(known: &KnownRun) -> String {
    let steps = known.steps.iter().filter(|step| step.does != RunStep::Nothing);
    let steps: Vec<String> = steps.map(|step| step_in_short(&step.does)).collect();
    steps.join("; ")
}

/// Puts ` name=a,b` behind `text`, unless there is nothing to say.
fn add(text: &mut String, name: &str, values: &[String]) {
    if !values.is_empty() {
        let _ = write!(text, " {name}={}", values.join(","));
    }
}

fn switches(text: &mut String, switches: &[(&str, bool)]) {
    for (name, _) in switches.iter().filter(|(_, is_on)| *is_on) {
        let _ = write!(text, " {name}");
    }
}

fn step_in_short(step: &RunStep) -> String {
    let mut text = String::new();
    match step {
        RunStep::Pip(pip) => return pip_in_short(pip),
        RunStep::UvSync(sync) => return sync_in_short(sync),
        RunStep::PoetryInstall(poetry) => return poetry_in_short(poetry),
        RunStep::PoetryConfig(setting) => return format!("poetry-config {:?}={}", setting.name, setting.is_on),
        RunStep::Venv(venv) => {
            text = format!("venv {:?} {:?} {}", venv.tool, venv.interpreter, venv.folder);
            switches(
                &mut text,
                &[("copies", venv.copies), ("site", venv.system_site_packages), ("pip", venv.with_pip)],
            );
            switches(&mut text, &[("upgrade-deps", venv.upgrade_deps), ("clear", venv.clear)]);
        }
        RunStep::Mkdir { paths, parents, mode } => {
            text = format!("mkdir {}", paths.join(" "));
            switches(&mut text, &[("-p", *parents)]);
            if let Some(mode) = mode {
                let _ = write!(text, " {:o}", mode.apply(0o777, true));
            }
        }
        RunStep::Chmod { paths, mode, recursive } => {
            let (file, folder) = (mode.apply(0o640, false), mode.apply(0o750, true));
            text = format!("chmod {file:o}/{folder:o} {}", paths.join(" "));
            switches(&mut text, &[("-R", *recursive)]);
        }
        RunStep::Chown { paths, user, group, recursive, no_dereference } => {
            text = format!("chown {user:?} {group:?} {}", paths.join(" "));
            switches(&mut text, &[("-R", *recursive), ("-h", *no_dereference)]);
        }
        RunStep::Link { targets, place, symbolic, force, no_dereference, no_target_folder } => {
            text = format!("ln {} {}", targets.join(" "), place.as_deref().unwrap_or("-"));
            switches(
                &mut text,
                &[("-s", *symbolic), ("-f", *force), ("-n", *no_dereference), ("-T", *no_target_folder)],
            );
        }
        RunStep::Remove { paths, recursive, force, empty_folders } => {
            text = format!("rm {}", paths.join(" "));
            switches(&mut text, &[("-r", *recursive), ("-f", *force), ("-d", *empty_folders)]);
        }
        RunStep::Touch { paths, no_create } => {
            text = format!("touch {}", paths.join(" "));
            switches(&mut text, &[("-c", *no_create)]);
        }
        RunStep::AddUser(user) => return user_in_short(user),
        RunStep::AddGroup(group) => {
            text = format!("group {:?} {} {:?}", group.tool, group.name, group.gid);
            switches(&mut text, &[("system", group.system), ("-f", group.may_exist), ("-o", group.non_unique)]);
        }
        RunStep::AddMember(member) => text = format!("member {} of {}", member.user, member.group),
        RunStep::Activate(folder) => text = format!("activate {folder}"),
        RunStep::ChangeFolder(folder) => text = format!("cd {folder}"),
        RunStep::Nothing => {}
    }
    text
}

fn pip_in_short(pip: &PipInstall) -> String {
    let mut text = format!("{:?} {:?}:", pip.installer, pip.interpreter);
    for requirement in &pip.requirements {
        let _ = write!(text, " <{requirement}>");
    }
    add(&mut text, "-r", &pip.requirement_files);
    add(&mut text, "-c", &pip.constraints);
    for folder in &pip.folders {
        let kind = if folder.editable { "editable" } else { "folder" };
        let _ = write!(text, " {kind}={}{:?}", folder.path, folder.extras);
    }
    for archive in &pip.archives {
        let _ = write!(text, " archive={}{:?}", archive.path, archive.extras);
    }
    add(&mut text, "groups", &pip.groups);
    add(&mut text, "extras", &pip.extras);
    for (name, value) in &pip.installer_args {
        let value = value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
        let _ = write!(text, " {name}{value}");
    }
    switches(&mut text, &[("all-extras", pip.all_extras), ("compiles", pip.compiles)]);
    if pip.place != Place::Interpreter {
        let _ = write!(text, " {:?}", pip.place);
    }
    if pip.cache != Cache::Home {
        let _ = write!(text, " cache:{:?}", pip.cache);
    }
    if pip.config != ConfigFile::Usual {
        let _ = write!(text, " config:{:?}", pip.config);
    }
    text
}

fn sync_in_short(sync: &UvSync) -> String {
    let mut text = "sync".to_owned();
    let _ = match &sync.environment {
        Some(folder) => write!(text, " {folder}"),
        None => Ok(()),
    };
    switches(&mut text, &[("active", sync.active), ("frozen", sync.frozen), ("locked", sync.locked)]);
    switches(&mut text, &[("no-project", sync.no_install_project), ("no-workspace", sync.no_install_workspace)]);
    switches(&mut text, &[("no-editable", sync.no_editable), ("inexact", sync.inexact), ("compiles", sync.compiles)]);
    switches(&mut text, &[("all-extras", sync.all_extras), ("all-groups", sync.groups.all)]);
    switches(&mut text, &[("no-default-groups", sync.groups.no_defaults)]);
    add(&mut text, "extras", &sync.extras);
    add(&mut text, "with", &sync.groups.with);
    add(&mut text, "only", &sync.groups.only);
    add(&mut text, "without", &sync.groups.without);
    add(&mut text, "python", sync.python.as_slice());
    if sync.cache != Cache::Home {
        let _ = write!(text, " cache:{:?}", sync.cache);
    }
    text
}

fn poetry_in_short(poetry: &PoetryInstall) -> String {
    let mut text = format!("poetry {}", poetry.command);
    let selection = &poetry.selection;
    add(&mut text, "with", &selection.with);
    add(&mut text, "without", &selection.without);
    add(&mut text, "only", &selection.only);
    add(&mut text, "extras", &selection.extras);
    switches(&mut text, &[("all-extras", selection.all_extras), ("all-groups", selection.all_groups)]);
    switches(&mut text, &[("no-root", poetry.no_root), ("only-root", poetry.only_root), ("sync", poetry.sync)]);
    switches(&mut text, &[("no-directory", poetry.no_directory), ("compiles", poetry.compiles)]);
    for (name, is_on) in [("create", poetry.creates_environment), ("in-project", poetry.in_project)] {
        if let Some(is_on) = is_on {
            let _ = write!(text, " {name}={is_on}");
        }
    }
    if poetry.cache != Cache::Home {
        let _ = write!(text, " cache:{:?}", poetry.cache);
    }
    text
}

fn user_in_short(user: &AddUser) -> String {
    let mut text = format!("user {:?} {}", user.tool, user.name);
    add(&mut text, "uid", user.uid.map(|uid| uid.to_string()).as_slice());
    add(&mut text, "group", user.group.as_slice());
    add(&mut text, "groups", &user.groups);
    add(&mut text, "home", user.home.as_slice());
    add(&mut text, "shell", user.shell.as_slice());
    if let Some(comment) = &user.comment {
        let _ = write!(text, " comment={comment:?}");
    }
    for (name, is_on) in [("own-group", user.own_group), ("creates-home", user.creates_home)] {
        if let Some(is_on) = is_on {
            let _ = write!(text, " {name}={is_on}");
        }
    }
    switches(&mut text, &[("system", user.system), ("-o", user.non_unique), ("-l", user.no_log_init)]);
    if user.password != Password::Locked {
        let _ = write!(text, " {:?}", user.password);
    }
    text
}

mod lines;
mod refused;
mod surroundings;
mod words;
