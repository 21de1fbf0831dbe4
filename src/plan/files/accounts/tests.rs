//! What the tools of Debian 12 and 13 were seen to do, in a root folder of each, and what comes of the same commands here.

use super::*;
use crate::dockerfile::run::{RunStep, read_run};
use crate::dockerfile::{Dockerfile, InstructionKind};
use crate::image::filesystem::{Node, NodeKind};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nstaff:x:50:\nusers:x:100:\nnogroup:x:65534:\n";
const SHADOW: &str = "root:*:20000:0:99999:7:::\nwww-data:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n";
const GSHADOW: &str = "root:*::\nwww-data:*::\nstaff:*::\nusers:*::\nnogroup:*::\n";
const LOGIN: &str = "UMASK\t022\nPASS_MAX_DAYS 99999\nPASS_MIN_DAYS 0\nPASS_WARN_AGE 7\nUID_MIN 1000\nUID_MAX 60000\n\
                     GID_MIN 1000\nGID_MAX 60000\nSUB_UID_COUNT 65536\nUSERGROUPS_ENAB yes\n";

fn stage(version: &str) -> StageFiles {
    let mut stage = StageFiles::default();
    let mut put = |path: &str, kind: NodeKind, mode: u32, gid: u64, text: Option<&str>| {
        let node = Node::new(kind, mode, 0, gid);
        let node = match text {
            Some(text) => node.with_content(text.as_bytes()),
            None => node,
        };
        stage.put(EntryPath::parse(path).unwrap(), node);
    };
    let login = if version == "13" { format!("{LOGIN}HOME_MODE 0700\n") } else { LOGIN.to_owned() };
    let release = format!("ID=debian\nVERSION_ID=\"{version}\"\n");
    for (path, mode, gid, text) in [
        ("etc/passwd", 0o644, 0, PASSWD),
        ("etc/group", 0o644, 0, GROUP),
        ("etc/shadow", 0o640, 42, SHADOW),
        ("etc/gshadow", 0o640, 42, GSHADOW),
        ("etc/subuid", 0o644, 0, ""),
        ("etc/subgid", 0o644, 0, ""),
        ("etc/os-release", 0o644, 0, &release),
        ("etc/login.defs", 0o644, 0, &login),
        ("etc/default/useradd", 0o644, 0, "# x\nSHELL=/bin/sh\n"),
        ("etc/adduser.conf", 0o644, 0, "#DSHELL=/bin/bash\n"),
        ("etc/skel/.profile", 0o644, 0, "# ~"),
        ("etc/skel/.config/x", 0o600, 0, "x"),
        ("etc/.pwd.lock", 0o600, 0, ""),
    ] {
        put(path, NodeKind::File { size: text.len() as u64 }, mode, gid, Some(text));
    }
    for program in ["useradd", "groupadd", "usermod", "adduser"] {
        put(&format!("usr/sbin/{program}"), NodeKind::File { size: 9 }, 0o755, 0, None);
    }
    for folder in ["home", "srv", "opt", "run"] {
        put(folder, NodeKind::Directory, 0o755, 0, None);
    }
    stage
}

/// The stage after `command`, and the entries of its layers.
fn after(stage: &StageFiles, command: &str) -> Result<(StageFiles, Vec<PlacedEntry>), NotNative> {
    let file = Dockerfile::parse(&format!("FROM scratch\nRUN {command}\n")).unwrap();
    let InstructionKind::Run(run) = &file.stages[0].instructions[0].kind else { panic!("no RUN") };
    let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
    let (mut stage, mut entries) = (stage.clone(), Vec::new());
    for step in read_run(run, &shell, &|_| None).unwrap().steps {
        let placed = match &step.does {
            RunStep::AddUser(user) => stage.add_user(user, Day::of("2026-11-21T10:00:00Z"))?,
            RunStep::AddGroup(group) => stage.add_group(group)?,
            RunStep::AddMember(member) => stage.add_member(member)?,
            other => panic!("{other:?}"),
        };
        stage = placed.after;
        entries.extend(placed.files.entries);
    }
    Ok((stage, entries))
}

/// The lines of the account files that `command` adds or changes, without those that say nothing of their own, and files
/// elsewhere.
fn done(version: &str, command: &str) -> Vec<String> {
    let before = stage(version);
    let (stage, entries) = after(&before, command).unwrap();
    let mut lines = Vec::new();
    for table in [Table::Passwd, Table::Group, Table::Shadow, Table::Gshadow, Table::Subuid, Table::Subgid] {
        let (old, new) = (text(before.view(), table.path()).unwrap(), text(stage.view(), table.path()).unwrap());
        let name = &table.path()[4..];
        lines.extend(
            new.lines().filter(|line| !old.lines().any(|old| old == *line)).map(|line| format!("{name} {line}")),
        );
    }
    let elsewhere = entries.iter().filter(|entry| !entry.path.to_string().starts_with("etc/"));
    lines.extend(elsewhere.map(|e| format!("{} {:o} {}:{}", e.path, e.mode, e.owner.uid, e.owner.gid)));
    lines
}

const USER: [&str; 6] = [
    "passwd app:x:1000:1000::/home/app:/bin/bash",
    "group app:x:1000:",
    "shadow app:!:20778:0:99999:7:::",
    "gshadow app:!::",
    "subuid app:100000:65536",
    "subgid app:100000:65536",
];

#[test]
fn users_who_log_in_get_a_group_a_home_and_ranges_of_ids() {
    let home = |mode: &str| {
        [&format!("home/app {mode}"), "home/app/.config 755", "home/app/.config/x 600", "home/app/.profile 644"]
            .map(|line| format!("{line} 1000:1000"))
    };
    let made = [USER.map(str::to_owned).to_vec(), home("755").to_vec()].concat();
    assert_eq!(done("12", "useradd --create-home --shell /bin/bash app"), made);
    let made = [USER.map(str::to_owned).to_vec(), home("700").to_vec()].concat();
    assert_eq!(done("13", "useradd -m -u 1000 -s /bin/bash app"), made);
    let mut made = USER.map(str::to_owned).to_vec();
    made[1] = "group users:x:100:app".into();
    made.insert(2, "group app:x:1000:".into());
    made[4] = "gshadow users:*::app".into();
    made.insert(5, "gshadow app:!::".into());
    made.extend(home("700"));
    made.insert(8, "run/adduser 644 0:0".into());
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(done("13", "adduser --disabled-password --gecos '' app")), sorted(made.clone()));
    made[0] = "passwd app:x:1000:1000:,,,:/home/app:/bin/bash".into();
    assert_eq!(sorted(done("12", "adduser --disabled-password --gecos '' app")), sorted(made));
}

#[test]
fn users_are_those_that_the_tools_make() {
    for (command, expected) in [
        (
            "useradd -r -s /usr/sbin/nologin app",
            "passwd app:x:999:999::/home/app:/usr/sbin/nologin|group app:x:999:|shadow app:!:20778::::::|gshadow app:!::",
        ),
        (
            "groupadd -r app && useradd -r -g app app",
            "passwd app:x:999:999::/home/app:/bin/sh|group app:x:999:|shadow app:!:20778::::::|gshadow app:!::",
        ),
        (
            "useradd -u 500 app",
            "passwd app:x:500:1000::/home/app:/bin/sh|group app:x:1000:|shadow app:!:20778:0:99999:7:::|gshadow app:!::",
        ),
        (
            "useradd -r -u 50 app",
            "passwd app:x:50:999::/home/app:/bin/sh|group app:x:999:|shadow app:!:20778::::::|gshadow app:!::",
        ),
        ("useradd -r -M -N app", "passwd app:x:999:100::/home/app:/bin/sh|shadow app:!:20778::::::"),
        (
            "useradd -r -G users,staff app",
            "passwd app:x:999:999::/home/app:/bin/sh|group staff:x:50:app|group users:x:100:app|group app:x:999:|shadow app:!:20778::::::|gshadow staff:*::app|gshadow users:*::app|gshadow app:!::",
        ),
        (
            "useradd -r app; useradd -r b; groupadd -r c; groupadd d; groupadd e",
            "passwd app:x:999:999::/home/app:/bin/sh|passwd b:x:998:998::/home/b:/bin/sh|group app:x:999:|group b:x:998:|group c:x:997:|group d:x:1000:|group e:x:1001:|shadow app:!:20778::::::|shadow b:!:20778::::::|gshadow app:!::|gshadow b:!::|gshadow c:!::|gshadow d:!::|gshadow e:!::",
        ),
        (
            "useradd -r -m -d /opt/x/y app",
            "passwd app:x:999:999::/opt/x/y:/bin/sh|group app:x:999:|shadow app:!:20778::::::|gshadow app:!::|opt/x 755 0:0|opt/x/y 755 999:999|opt/x/y/.config 755 999:999|opt/x/y/.config/x 600 999:999|opt/x/y/.profile 644 999:999",
        ),
        (
            "useradd -r -m -d /srv app",
            "passwd app:x:999:999::/srv:/bin/sh|group app:x:999:|shadow app:!:20778::::::|gshadow app:!::",
        ),
        (
            "adduser --system --group app",
            "passwd app:x:100:101::/nonexistent:/usr/sbin/nologin|group app:x:101:|shadow app:!:20778::::::|gshadow app:!::|run/adduser 644 0:0",
        ),
        (
            "addgroup --system app && adduser --system --ingroup app app",
            "passwd app:x:100:101::/nonexistent:/usr/sbin/nologin|group app:x:101:|shadow app:!:20778::::::|gshadow app:!::|run/adduser 644 0:0",
        ),
        (
            "adduser --system app",
            "passwd app:x:100:65534::/nonexistent:/usr/sbin/nologin|shadow app:!:20778::::::|run/adduser 644 0:0",
        ),
        (
            "adduser --system --gecos 'My app' --group --home /opt/app --uid 500 app",
            "passwd app:x:500:500:My app,,,:/opt/app:/usr/sbin/nologin|group app:x:500:|shadow app:!:20778::::::|gshadow app:!::|opt/app 755 500:500|run/adduser 644 0:0",
        ),
        (
            "adduser --disabled-password --gecos 'A,B' --home /nonexistent --shell /sbin/nologin --no-create-home --uid 10001 app",
            "passwd app:x:10001:10001:A,B,,:/nonexistent:/sbin/nologin|group users:x:100:app|group app:x:10001:|shadow app:!:20778:0:99999:7:::|gshadow users:*::app|gshadow app:!::|subuid app:100000:65536|subgid app:100000:65536|run/adduser 644 0:0",
        ),
        (
            "adduser --disabled-login --gecos X --gid 50 --no-create-home app",
            "passwd app:x:1000:50:X,,,:/home/app:/usr/sbin/nologin|group users:x:100:app|shadow app:!:20778:0:99999:7:::|gshadow users:*::app|subuid app:100000:65536|subgid app:100000:65536|run/adduser 644 0:0",
        ),
        (
            "adduser www-data staff; adduser www-data staff",
            "group staff:x:50:www-data|gshadow staff:*::www-data|run/adduser 644 0:0",
        ),
        ("groupadd -f users", ""),
        ("addgroup app", "group app:x:1000:|gshadow app:!::|run/adduser 644 0:0"),
    ] {
        assert_eq!(done("12", command).join("|"), expected, "{command}");
    }
}

#[test]
fn backups_hold_what_the_last_tool_found() {
    let (stage, entries) = after(&stage("12"), "adduser --disabled-password --gecos '' app; groupadd b").unwrap();
    let last = |path: &str| {
        let entry = entries.iter().rev().find(|entry| entry.path.to_string() == path).unwrap();
        let PlacedKind::File { content: FileContent::Text(bytes), .. } = &entry.kind else { panic!("{path}") };
        (entry.mode, entry.owner.gid, String::from_utf8(bytes.to_vec()).unwrap())
    };
    assert_eq!(last("etc/passwd-"), (0o644, 0, format!("{PASSWD}app:x:1000:1000::/home/app:/bin/bash\n")));
    assert_eq!(last("etc/shadow-"), (0o640, 42, SHADOW.to_owned()));
    assert_eq!(last("etc/subuid-").2, "");
    let group = format!("{}app:x:1000:\n", GROUP.replace("users:x:100:", "users:x:100:app"));
    assert_eq!(last("etc/group-").2, group);
    let second = after(&stage, "useradd -r second; useradd third").unwrap().1;
    let ranges = second.iter().find(|entry| entry.path.to_string() == "etc/subuid").unwrap();
    let PlacedKind::File { content: FileContent::Text(bytes), .. } = &ranges.kind else { panic!("no text") };
    assert_eq!(&bytes[..], b"app:100000:65536\nthird:165536:65536\n");
}

#[test]
fn without_a_time_the_day_is_the_last_that_the_image_has() {
    let (plain, member) = (stage("12"), "www-data:*:20001:");
    let mut later = plain.clone();
    let text = SHADOW.replace("www-data:*:20000:", member);
    let node = Node::new(NodeKind::File { size: text.len() as u64 }, 0o640, 0, 42).with_content(text.as_bytes());
    later.put(EntryPath::parse("etc/shadow").unwrap(), node);
    let InstructionKind::Run(run) =
        &Dockerfile::parse("FROM scratch\nRUN useradd -r app").unwrap().stages[0].instructions[0].kind.clone()
    else {
        panic!("no RUN")
    };
    let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
    let RunStep::AddUser(user) = &read_run(run, &shell, &|_| None).unwrap().steps[0].does else { panic!("no user") };
    let shadow =
        |stage: &StageFiles| super::text(stage.add_user(user, None).unwrap().after.view(), "etc/shadow").unwrap();
    assert!(shadow(&plain).ends_with("\napp:!:20000::::::\n"));
    assert!(shadow(&later).ends_with("\napp:!:20001::::::\n"));
}

#[test]
fn what_the_tools_would_refuse_or_nobody_knows_is_not_native() {
    let plain = stage("12");
    for (command, reason) in [
        ("useradd users", "`users` exists"),
        ("useradd -u 0 app", "the ID 0 is taken"),
        ("useradd -g 4711 app", "there is no `4711`"),
        ("groupadd users", "`users` exists"),
        ("groupadd -g 50 app", "the ID 50 is taken"),
        ("adduser app staff", "there is no `app`"),
        ("adduser -D app", "it is spelt for busybox, whose accounts are not added here"),
        ("adduser --disabled-password app", "it asks for the user's name"),
    ] {
        assert_eq!(after(&plain, command).unwrap_err().reason, reason, "{command}");
    }
    let path = |text: &str| EntryPath::parse(text).unwrap();
    let file = |size| Node::new(NodeKind::File { size }, 0o644, 0, 0);
    for (at, reason) in [
        ("etc/shadow", "what `/etc/shadow` holds is not known"),
        ("etc/skel/.bashrc", "the content of `/etc/skel/.bashrc` is not known"),
        ("var/log/lastlog", "`/var/log/lastlog` may have a record of the user"),
        ("usr/local/bin/useradd", "there may be `/usr/local/bin/useradd`, which is not Debian's"),
    ] {
        let mut stage = plain.clone();
        stage.put(path(at), file(1000 * 292 + 1));
        assert_eq!(after(&stage, "useradd -m app").unwrap_err().reason, reason, "{at}");
    }
    let mut other = plain.clone();
    other.put(path("etc/os-release"), file(9).with_content(*b"ID=alpine"));
    let reason = after(&other, "useradd app").unwrap_err().reason;
    assert_eq!(reason, "the image's tools for accounts are not those of Debian 12 or 13");
}
