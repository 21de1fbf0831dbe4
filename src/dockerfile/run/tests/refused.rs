//! Lines that are left to a shell, each with the reason that is told.
//!
//! Reasons are for people; the test holds them so that none becomes unintelligible unseen.

use super::*;

fn check(table: &[(&str, &str)]) {
    for (line, expected) in table {
        match read(line) {
            Ok(known) => panic!("{line}\nis taken for: {}", short(&known)),
            Err(error) => assert_eq!(&error.reason, expected, "{line}"),
        }
    }
}

const INSTALLATIONS_BY_PIP: &[(&str, &str)] = &[
    ("pip install 'a b'", "`a b` is no requirement that is understood"),
    ("pip install -r requirements.txt && python manage.py collectstatic --noinput", "it runs `python manage.py`"),
    ("python setup.py install", "it runs `python setup.py`"),
    ("python -m compileall /app", "it runs the module `compileall`"),
    ("python3 -m spacy download en_core_web_sm", "it runs the module `spacy`"),
    ("python -c 'import torch'", "it runs `python -c`"),
    ("pip wheel --no-cache-dir -w /wheels -r requirements.txt", "it runs `pip wheel`"),
    ("pip download flask", "it runs `pip download`"),
    ("pip uninstall -y flask", "it runs `pip uninstall`"),
    ("pip config set global.index-url https://u:secret@i.example/simple", "`pip config` writes a file of settings"),
    ("pip check", "it runs `pip check`"),
    ("pip install", "it names nothing to install"),
    ("pip install --foo flask", "its option `--foo` is not understood"),
    ("pip install --upg flask", "its option `--upg` is not understood"),
    ("pip install --proxy http://u:p@proxy:3128 flask", "its option `--proxy` is not understood"),
    ("pip install --platform manylinux2014_x86_64 --target x flask", "its option `--platform` is not understood"),
    ("pip install --dry-run flask", "its option `--dry-run` is not understood"),
    ("pip install --report r.json flask", "its option `--report` is not understood"),
    ("pip install --config-settings a=b flask", "its option `--config-settings` is not understood"),
    (
        "pip install -e git+https://github.com/org/repo.git#egg=repo",
        "`-e git+https://github.com/org/repo.git#egg=repo` checks sources out into the image",
    ),
    ("pip install -r https://example.com/requirements.txt", "it reads requirements from a URL"),
    ("pip install file:///app", "`file:///app` names a path"),
    (r#"pip install "flask @ file:///app""#, "`flask @ file:///app` names a path"),
    ("pip install flask>=2.0", "`>` outside quotation marks writes a file"),
    ("pip install flask<3", "`<` outside quotation marks reads a file"),
    ("pip install numpy == 1.0 > log.txt", "`>` outside quotation marks writes a file"),
    ("pip install -r", "its option `-r` has no value"),
    ("pip install --index-url --no-cache-dir flask", "its option `--index-url` has no value"),
    ("pip install --no-cache-dir=1 flask", "its option `--no-cache-dir` takes no value"),
    ("pip install flask || true", "it goes on where `pip install flask` fails"),
    ("pip install flask || echo failed", "it runs only where something fails (`||`)"),
    ("pip install flask | tee log", "it is a pipe"),
    ("pip install flask &", "it runs in the background"),
    ("pip install $(cat requirements.txt)", "it takes the output of a command (`$(`)"),
    ("pip install `cat requirements.txt`", "it takes the output of a command (`` ` ``)"),
    ("pip install $((1+1))", "it takes the output of a command (`$(`)"),
    ("pip install ${VERSION%.*}", "`${VERSION%.*}` is more than the value of a variable"),
    ("pip install ${VERSION/1/2}", "`${VERSION/1/2}` is more than the value of a variable"),
    ("pip install ${#VERSION}", "`${#VERSION}` is more than the value of a variable"),
    ("pip install ${VERSION:?no}", "`${VERSION:?no}` is more than the value of a variable"),
    (r#"pip install ${VERSION:="x"}"#, r#"`${VERSION:=\"x\"}` is more than the value of a variable"#),
    ("pip install $1", "`$1` is not known before it runs"),
    ("pip install $@", "`$@` is not known before it runs"),
    (r#"pip install $'a\tb'"#, r#"`$\'` is not known before it runs"#),
    (r#"pip install $"a""#, r#"`$\"` is not known before it runs"#),
    (r#"pip install "flask"#, "a quotation mark is not closed"),
    ("pip install 'flask", "a quotation mark is not closed"),
    (r#"pip install flask \"#, "it ends in a backslash"),
    ("pip install flask &&", "the last command is missing"),
    ("pip install flask ;; true", "`;;` is more than a simple command"),
    ("pip install flask && && true", "no command stands before `&`"),
    ("pip install $HTTP_PROXY", "`$HTTP_PROXY` is not known before it runs"),
    ("pip install $BACKSLASH", "`$BACKSLASH` has a backslash and no quotation marks"),
    ("pipenv install --system --deploy", "it runs `pipenv`"),
    ("pip install flask && make && pip install gunicorn", "it runs `make`"),
];

#[test]
fn installations_by_pip_are_refused_with_a_reason() {
    check(INSTALLATIONS_BY_PIP);
}

const COMMANDS_OF_UV: &[(&str, &str)] = &[
    ("uv tool install ruff", "it runs `uv tool`"),
    ("uv run python -V", "it runs `uv run`"),
    ("uv lock", "it runs `uv lock`"),
    ("uv export -o requirements.txt", "it runs `uv export`"),
    ("uv pip compile requirements.in", "it runs `uv pip compile`"),
    ("uv pip sync requirements.txt", "it runs `uv pip sync`"),
    ("uv pip install --user flask", "its option `--user` is not understood"),
    ("uv pip install --torch-backend=auto --system torch", "it looks for a graphics card"),
    ("uv pip install --system --python 3.12 flask", "it asks for the system's Python and for another"),
    ("uv pip install --system --link-mode symlink flask", "`symlink` leads into its cache"),
    ("uv pip install --system --keyring-provider subprocess flask", "it asks a keyring"),
    ("uv pip install --system --override o.txt flask", "its option `--override` is not understood"),
    ("uv pip install --system -r -", "its option `-r` has no value"),
    ("UV_OFFLINE=1 uv pip install --system flask", "the variable `UV_OFFLINE` changes what is installed"),
    ("CONDA_PREFIX=/conda uv pip install flask", "`CONDA_PREFIX` names an environment of conda"),
    ("uv sync --frozen --locked", "`--frozen` and `--locked` exclude each other"),
    ("uv sync --no-install-local", "its option `--no-install-local` is not understood"),
    ("uv sync --no-install-package app", "its option `--no-install-package` is not understood"),
    ("uv venv --relocatable", "its option `--relocatable` is not understood"),
    ("uv venv a b", "it does not name one folder"),
];

#[test]
fn commands_of_uv_are_refused_with_a_reason() {
    check(COMMANDS_OF_UV);
}

const COMMANDS_OF_POETRY: &[(&str, &str)] = &[
    ("curl -sSL https://install.python-poetry.org | python3 -", "it is a pipe"),
    ("pipx install poetry", "it runs `pipx`"),
    ("poetry install --directory x", "its option `--directory` is not understood"),
    ("poetry export -f requirements.txt", "it runs `poetry export`"),
    ("poetry lock", "it runs `poetry lock`"),
    ("poetry add flask", "it runs `poetry add`"),
    ("poetry config http-basic.x u p", "it does not name one setting"),
    ("poetry config virtualenvs.create maybe", "`maybe` is neither true nor false"),
    (
        "POETRY_INSTALLER_NO_BINARY=:all: poetry install",
        "the variable `POETRY_INSTALLER_NO_BINARY` changes what is installed",
    ),
];

#[test]
fn commands_of_poetry_are_refused_with_a_reason() {
    check(COMMANDS_OF_POETRY);
}

const ENVIRONMENTS: &[(&str, &str)] = &[
    ("source /opt/venv/bin/activate && pip install flask", "it runs `source`"),
    (". venv/bin/activate && pip install flask", "it runs the script `venv/bin/activate`"),
    ("python -m venv", "it does not name one folder"),
    ("python -m venv --upgrade /venv", "its option `--upgrade` is not understood"),
    ("python -m venv --prompt . /venv", "its prompt is taken from the working folder"),
];

#[test]
fn environments_are_refused_with_a_reason() {
    check(ENVIRONMENTS);
}

const ACCOUNTS: &[(&str, &str)] = &[
    ("useradd", "it does not name one account"),
    ("useradd app extra", "it does not name one account"),
    ("useradd -p x app", "its option `-p` is not understood"),
    ("useradd -k /skel app", "its option `-k` is not understood"),
    ("useradd -u 01000 app", "`01000` is no ID"),
    ("useradd -u x app", "`x` is no ID"),
    ("useradd App", "`App` is no name that every tool takes"),
    ("useradd -g a -U app", "`-g` and `-U` exclude each other"),
    ("adduser app", "it asks for a password"),
    (r#"adduser --gecos "" app"#, "it asks for a password"),
    ("adduser --firstuid 1 --system app", "its option `--firstuid` is not understood"),
    ("groupadd -o x", "`-o` wants `-g`"),
];

#[test]
fn accounts_are_refused_with_a_reason() {
    check(ACCOUNTS);
}

const CHANGES_OF_FILES: &[(&str, &str)] = &[
    (r#"mkdir -p "$APP_HOME"/{} "#, "braces outside quotation marks have meanings that differ"),
    ("mkdir -p /app/{a,b}", "braces outside quotation marks have meanings that differ"),
    ("rm -rf ~other/x", "`~` with a name is another user's folder"),
    ("mkdir", "it names no file"),
    ("mkdir --context=x /a", "its option `--context` is not understood"),
    ("mkdir -m 9 /a", "mode `9` is no octal number between 0 and 07777"),
    ("chmod /a", "it names no file"),
    ("chmod +q /a", "mode `+q` is neither octal nor symbolic"),
    ("chmod -x /a", "its option `-x` is not understood"),
    ("chmod --reference=/a /b", "its option `--reference` is not understood"),
    ("chown app.app /a", "`app.app` is no owner that is understood"),
    ("chown a:b:c /a", "`a:b:c` is no owner that is understood"),
    ("chown : /a", "`:` is no owner that is understood"),
    ("chown -RL a /a", "its option `-L` is not understood"),
    ("chown --from=a b /a", "its option `--from` is not understood"),
    ("rm /", "`rm` refuses `/`"),
    ("rm -rf .", "`rm` refuses `.`"),
    ("rm -rf /app/..", "`rm` refuses `/app/..`"),
    ("rm -i a", "its option `-i` is not understood"),
    ("rm", "it names no file"),
    ("ln", "it names no file"),
    ("ln -sr a b", "its option `-r` is not understood"),
    ("ln -s -T a", "`-T` wants one file and one link"),
    ("touch -d yesterday a", "its option `-d` is not understood"),
    ("rm -rf .*", "`.*` is a pattern of file names"),
    ("mkdir x || mkdir y", "it runs only where something fails (`||`)"),
    ("mkdir x || true", "it goes on where `mkdir x` fails"),
];

#[test]
fn changes_of_files_are_refused_with_a_reason() {
    check(CHANGES_OF_FILES);
}

const SCRIPTS: &[(&str, &str)] = &[
    ("apt-get update && apt-get install -y gcc", "`apt-get` manages the packages of the distribution"),
    ("PIP_NO_COMPILE=1 pip install flask", "the variable `PIP_NO_COMPILE` changes what is installed"),
    ("make install", "it runs `make`"),
    (
        "apt-get update && apt-get install -y --no-install-recommends gcc && rm -rf /var/lib/apt/lists/*",
        "`apt-get` manages the packages of the distribution",
    ),
    ("apk add --no-cache git", "`apk` manages the packages of the distribution"),
    ("PIP_TARGET_DIR=/x PIP_DRY_RUN=1 pip install flask", "the variable `PIP_DRY_RUN` changes what is installed"),
    ("PIP_PRE=perhaps pip install flask", "`PIP_PRE` is neither on nor off"),
    (
        "PIP_EXTRA_INDEX_URL=https://a.example pip install --extra-index-url https://b.example flask",
        "`PIP_EXTRA_INDEX_URL` is set and its option is given as well",
    ),
    ("(pip install flask)", "parentheses are more than a simple command"),
    ("{ pip install flask; }", "braces outside quotation marks have meanings that differ"),
    ("if [ -f requirements.txt ]; then pip install -r requirements.txt; fi", "`if` is more than a simple command"),
    ("for p in a b; do pip install $p; done", "`for` is more than a simple command"),
    ("while true; do true; done", "`while` is more than a simple command"),
    ("case x in y) true;; esac", "parentheses are more than a simple command"),
    ("! true", "`!` is more than a simple command"),
    ("f() { true; }", "parentheses are more than a simple command"),
    ("cat requirements.txt", "it runs `cat`"),
    ("cat <<EOF > /app/x", "it is given a here-document"),
    ("echo hello > /app/file", "`>` outside quotation marks writes a file"),
    (r#"echo "export A=1" >> ~/.bashrc"#, "`>` outside quotation marks writes a file"),
    ("echo $$", "`$$` is not known before it runs"),
    ("&& pip install flask", "no command stands before `&`"),
    ("cd - && pip install flask", "it is more than `cd FOLDER`"),
    (r#"cd "$PWD" && pip install flask"#, "`$PWD` is not known before it runs"),
    ("set -o pipefail && pip install flask", "`set -o pipefail` fails in some shells"),
    ("set -f; pip install flask", "`set -f` changes how the shell reads"),
    ("set -- a b", "`set -- a b` changes how the shell reads"),
    ("set", "`set` changes how the shell reads"),
    ("export", "it is more than `export NAME=value`"),
    ("export A=$PACKAGES", "`$PACKAGES` needs quotation marks"),
    ("export PATH=~/bin", "the value of `export` needs quotation marks"),
    ("IFS=, pip install flask", "`IFS` changes how the shell works"),
    ("POSIXLY_CORRECT=1 rm a -f", "`POSIXLY_CORRECT` changes how the shell works"),
    ("A=1 B=$A pip install flask", "`B` depends on what is set beside it"),
    ("A=1 cd /x", "variables before `cd` hold in different ways"),
    ("A=1 export B=2", "it is more than `export NAME=value`"),
    ("umask 002 && mkdir /x", "it runs `umask`"),
    (". /app/env.sh && pip install flask", "it runs the script `/app/env.sh`"),
    (r#"eval "pip install flask""#, "it runs `eval`"),
    ("exec pip install flask", "it runs `exec`"),
    ("exit 0", "it runs `exit`"),
    ("sudo pip install flask", "it runs `sudo`"),
    ("env A=1 pip install flask", "it runs `env`"),
    ("su app -c 'pip install flask'", "it runs `su`"),
    ("curl -LsSf https://astral.sh/uv/install.sh -o x", "it runs `curl`"),
    ("wget -q https://example.com/x", "it runs `wget`"),
    ("git clone https://github.com/org/repo.git", "it runs `git`"),
    ("npm ci", "it runs `npm`"),
    ("conda install -y numpy", "it runs `conda`"),
    ("cp a b", "it runs `cp`"),
    ("mv a b", "it runs `mv`"),
    ("sed -i s/a/b/ x", "it runs `sed`"),
    ("usermod -aG docker app", "it runs `usermod`"),
    ("unknown || true", "it runs `unknown`"),
    ("CMD=pip; $CMD2 install flask", "it runs `install`"),
    ("[ -f x ] && pip install flask", "it runs `[`"),
    ("[[ -f x ]] && pip install flask", "`[[` is more than a simple command"),
    ("test -f requirements.txt && pip install -r requirements.txt", "it runs `test`"),
];

#[test]
fn scripts_and_other_programs_are_refused_with_a_reason() {
    check(SCRIPTS);
}

#[test]
fn the_command_that_stops_us_is_named() {
    let table = [
        ("pip install a && make x && pip install b", "make x"),
        ("pip install a && pip install $(b)  c && d", "pip install $(b) c"),
        ("pip install a &&", "pip install a &&"),
        ("pip install a\ncurl https://u:pw@h/x", "curl https://h/x"),
    ];
    for (line, command) in table {
        assert_eq!(read(line).unwrap_err().command, command, "{line}");
    }
}
