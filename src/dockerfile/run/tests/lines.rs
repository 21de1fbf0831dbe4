//! Lines that are known.
//!
//! What is refused stands in `refused`.

use super::*;

fn check(table: &[(&str, &str)]) {
    for (line, expected) in table {
        match read(line) {
            Ok(known) => assert_eq!(&short(&known), expected, "{line}"),
            Err(error) => panic!("{line}\n{error}"),
        }
    }
}

const PIP: &[(&str, &str)] = &[
    ("pip install flask", r#"Pip Named("pip"): <flask> compiles"#),
    ("pip install --no-cache-dir -r requirements.txt", r#"Pip Named("pip"): -r=requirements.txt compiles cache:Off"#),
    (
        "pip install --no-cache-dir --upgrade -r /code/requirements.txt",
        r#"Pip Named("pip"): -r=/code/requirements.txt upgrade compiles cache:Off"#,
    ),
    (
        "pip install -r requirements.txt -r requirements-dev.txt -c constraints.txt",
        r#"Pip Named("pip"): -r=requirements.txt,requirements-dev.txt -c=constraints.txt compiles"#,
    ),
    (
        "pip3 install --no-cache-dir --upgrade pip setuptools wheel",
        r#"Pip Named("pip3"): <pip> <setuptools> <wheel> upgrade compiles cache:Off"#,
    ),
    ("pip3.11 install numpy==1.26.4", r#"Pip Named("pip3.11"): <numpy==1.26.4> compiles"#),
    ("python -m pip install --upgrade pip", r#"Pip Named("python"): <pip> upgrade compiles"#),
    (
        "python3 -m pip install --no-cache-dir -U pip && python3 -m pip install --no-cache-dir -r requirements.txt",
        r#"Pip Named("python3"): <pip> upgrade compiles cache:Off; Pip Named("python3"): -r=requirements.txt compiles cache:Off"#,
    ),
    (
        r#"python3.12 -m pip install -q "torch>=2,<3" 'pandas[excel]~=2.0'"#,
        r#"Pip Named("python3.12"): <torch>=2,<3> <pandas[excel]~=2.0> compiles"#,
    ),
    (
        "/opt/venv/bin/pip install --no-cache-dir gunicorn==21.2.0",
        r#"Pip Path("/opt/venv/bin/pip"): <gunicorn==21.2.0> compiles cache:Off"#,
    ),
    (".venv/bin/pip install flask", r#"Pip Path(".venv/bin/pip"): <flask> compiles"#),
    (
        "pip install uvicorn[standard] fastapi==0.110.*",
        r#"Pip Named("pip"): <uvicorn[standard]> <fastapi==0.110.*> compiles"#,
    ),
    (
        r#"pip install "uvicorn[standard]" "fastapi==0.110.*""#,
        r#"Pip Named("pip"): <uvicorn[standard]> <fastapi==0.110.*> compiles"#,
    ),
    ("pip install uvicorn[standard]", r#"Pip Named("pip"): <uvicorn[standard]> compiles"#),
    ("pip install .", r#"Pip Named("pip"): folder=.[] compiles"#),
    ("pip install -e .", r#"Pip Named("pip"): editable=.[] compiles"#),
    (
        r#"pip install --no-cache-dir -e ".[dev,test]""#,
        r#"Pip Named("pip"): editable=.["dev", "test"] compiles cache:Off"#,
    ),
    ("pip install .[all] --no-deps", r#"Pip Named("pip"): folder=.["all"] no-deps compiles"#),
    ("pip install ./packages/core ../lib", r#"Pip Named("pip"): folder=./packages/core[] folder=../lib[] compiles"#),
    (
        "pip install dist/app-1.0-py3-none-any.whl",
        r#"Pip Named("pip"): archive=dist/app-1.0-py3-none-any.whl[] compiles"#,
    ),
    (
        "pip install --no-index --find-links=/wheels -r requirements.txt",
        r#"Pip Named("pip"): -r=requirements.txt find-links=/wheels no-index compiles"#,
    ),
    (
        "pip install --no-index --find-links /wheels /wheels/app-1.0-py3-none-any.whl",
        r#"Pip Named("pip"): archive=/wheels/app-1.0-py3-none-any.whl[] find-links=/wheels no-index compiles"#,
    ),
    (
        "pip install torch --index-url https://download.pytorch.org/whl/cpu",
        r#"Pip Named("pip"): <torch> index-url=https://download.pytorch.org/whl/cpu compiles"#,
    ),
    (
        "pip install torch==2.2.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu --extra-index-url=https://b.example/simple",
        r#"Pip Named("pip"): <torch==2.2.0+cpu> extra-index-url=https://download.pytorch.org/whl/cpu https://b.example/simple compiles"#,
    ),
    (
        "pip install --trusted-host pypi.org --trusted-host files.pythonhosted.org -r requirements.txt",
        r#"Pip Named("pip"): -r=requirements.txt trusted-host=pypi.org files.pythonhosted.org compiles"#,
    ),
    (
        "pip install --pre --no-binary :all: --prefer-binary lxml",
        r#"Pip Named("pip"): <lxml> no-binary=:all: pre prefer-binary compiles"#,
    ),
    (
        "pip install --only-binary=:all: --only-binary numpy pandas",
        r#"Pip Named("pip"): <pandas> only-binary=:all:,numpy compiles"#,
    ),
    (
        "pip install --require-hashes -r requirements.txt",
        r#"Pip Named("pip"): -r=requirements.txt require-hashes compiles"#,
    ),
    (
        "pip install --user --no-warn-script-location -r requirements.txt",
        r#"Pip Named("pip"): -r=requirements.txt compiles User"#,
    ),
    (
        "pip install --target=/var/task -r requirements.txt",
        r#"Pip Named("pip"): -r=requirements.txt compiles Target("/var/task")"#,
    ),
    (
        "pip install --prefix=/install -r /requirements.txt",
        r#"Pip Named("pip"): -r=/requirements.txt compiles Prefix("/install")"#,
    ),
    (
        "pip install --break-system-packages --root-user-action=ignore --disable-pip-version-check ansible",
        r#"Pip Named("pip"): <ansible> compiles"#,
    ),
    ("pip install --no-compile --no-cache-dir django", r#"Pip Named("pip"): <django> cache:Off"#),
    (
        "pip install --default-timeout=100 --retries 5 -r requirements.txt",
        r#"Pip Named("pip"): -r=requirements.txt retries=5 timeout=100 compiles"#,
    ),
    (
        "pip install -r requirements.txt --upgrade --upgrade-strategy eager",
        r#"Pip Named("pip"): -r=requirements.txt upgrade upgrade-strategy=eager compiles"#,
    ),
    (
        "pip install --force-reinstall --ignore-installed --no-build-isolation flash-attn",
        r#"Pip Named("pip"): <flash-attn> force-reinstall ignore-installed no-build-isolation compiles"#,
    ),
    ("pip --no-cache-dir install flask", r#"Pip Named("pip"): <flask> compiles cache:Off"#),
    (
        "pip --no-cache-dir --disable-pip-version-check install -vvv flask",
        r#"Pip Named("pip"): <flask> compiles cache:Off"#,
    ),
    (
        "pip install git+https://github.com/org/repo.git@v1.0#egg=repo",
        r#"Pip Named("pip"): <git+https://github.com/org/repo.git@v1.0#egg=repo> compiles"#,
    ),
    (
        r#"pip install "repo @ git+https://github.com/org/repo@main""#,
        r#"Pip Named("pip"): <repo @ git+https://github.com/org/repo@main> compiles"#,
    ),
    (
        "pip install https://example.com/pkg-1.0.tar.gz",
        r#"Pip Named("pip"): <https://example.com/pkg-1.0.tar.gz> compiles"#,
    ),
    (
        "pip install flask==$VERSION gunicorn==${VERSION}",
        r#"Pip Named("pip"): <flask==1.2.3> <gunicorn==1.2.3> compiles"#,
    ),
    ("pip install $PACKAGES", r#"Pip Named("pip"): <flask> <gunicorn> compiles"#),
    (
        r#"pip install "app==${VERSION:-2.0}" other==${OTHER:-3.1}"#,
        r#"Pip Named("pip"): <app==1.2.3> <other==3.1> compiles"#,
    ),
    ("pip install $EXTRAS", r#"Pip Named("pip"): <uvicorn[standard]> compiles"#),
    ("pip install ${EMPTY} flask", r#"Pip Named("pip"): <flask> compiles"#),
    (
        "pip install --group dev --group ./x/pyproject.toml:test",
        r#"Pip Named("pip"): groups=dev,./x/pyproject.toml:test compiles"#,
    ),
    (
        "pip install -r requirements.txt && rm -rf /root/.cache",
        r#"Pip Named("pip"): -r=requirements.txt compiles; rm /root/.cache -r -f"#,
    ),
    ("pip install -r requirements.txt && pip cache purge", r#"Pip Named("pip"): -r=requirements.txt compiles"#),
    (
        "pip install -r requirements.txt; rm -rf ~/.cache/pip",
        r#"Pip Named("pip"): -r=requirements.txt compiles; rm /root/.cache/pip -r -f"#,
    ),
    (
        "pip install -rrequirements.txt -cconstraints.txt",
        r#"Pip Named("pip"): -r=requirements.txt -c=constraints.txt compiles"#,
    ),
    ("pip install flask > /dev/null 2>&1", r#"Pip Named("pip"): <flask> compiles"#),
    ("pip install -qq flask >/dev/null", r#"Pip Named("pip"): <flask> compiles"#),
    ("pip install flask # the web", r#"Pip Named("pip"): <flask> compiles"#),
    ("pip install flask || exit 1", r#"Pip Named("pip"): <flask> compiles"#),
    ("python --version && pip --version", ""),
    ("pip install --no-cache-dir /wheels/*", r#"Pip Named("pip"): folder=/wheels/*[] compiles cache:Off"#),
    ("pip install numpy==1.*", r#"Pip Named("pip"): <numpy==1.*> compiles"#),
    (
        "pip install     --no-cache-dir         flask         gunicorn",
        r#"Pip Named("pip"): <flask> <gunicorn> compiles cache:Off"#,
    ),
    ("pip install --no-cache /wheels/*.whl", r#"Pip Named("pip"): archive=/wheels/*.whl[] compiles cache:Off"#),
];

#[test]
fn pip_installs_what_its_words_say() {
    check(PIP);
}

const UV: &[(&str, &str)] = &[
    ("uv pip install --system -r requirements.txt", "Uv System: -r=requirements.txt"),
    (
        "uv pip install --system --no-cache -r requirements.txt -r pyproject.toml --extra api --all-extras",
        "Uv System: -r=requirements.txt,pyproject.toml extras=api all-extras cache:Off",
    ),
    ("uv pip install flask", "Uv Found: <flask>"),
    ("uv pip install --python /opt/venv/bin/python flask", r#"Uv Asked("/opt/venv/bin/python"): <flask>"#),
    (
        "uv pip install --python 3.11 --index https://a.example/s --default-index https://b.example/s flask",
        r#"Uv Asked("3.11"): <flask> default-index=https://b.example/s index=https://a.example/s"#,
    ),
    (
        "uv pip install --index-strategy unsafe-best-match --extra-index-url https://download.pytorch.org/whl/cpu --system torch",
        "Uv System: <torch> extra-index-url=https://download.pytorch.org/whl/cpu index-strategy=unsafe-best-match",
    ),
    ("uv pip install --system --compile-bytecode --link-mode=copy -e .", "Uv System: editable=.[] compiles"),
    (
        "uv pip install --system --resolution lowest-direct --prerelease=allow --no-sources .",
        "Uv System: folder=.[] no-sources prerelease=allow resolution=lowest-direct",
    ),
    (
        "uv pip install --system --no-deps --require-hashes -r requirements.txt",
        "Uv System: -r=requirements.txt no-deps require-hashes",
    ),
    ("UV_SYSTEM_PYTHON=1 UV_COMPILE_BYTECODE=1 uv pip install flask", "Uv System: <flask> compiles"),
    ("VIRTUAL_ENV=/opt/venv uv pip install flask", r#"Uv Environment("/opt/venv"): <flask>"#),
    ("uv --no-cache pip install --system flask", "Uv System: <flask> cache:Off"),
    ("uv pip install --system --torch-backend=cpu torch", "Uv System: <torch> torch-backend=cpu"),
    ("uv sync --frozen --no-dev", "sync frozen without=dev"),
    ("uv sync --locked --no-install-project --no-dev", "sync locked no-project without=dev"),
    (
        "uv sync --frozen --no-install-workspace --no-editable --compile-bytecode",
        "sync frozen no-workspace no-editable compiles",
    ),
    (
        "uv sync --frozen --all-extras --group prod --no-group lint --only-group x",
        "sync frozen all-extras with=prod only=x without=lint",
    ),
    (
        "uv sync --active --inexact --python 3.12 --no-cache --extra a --extra b",
        "sync inexact extras=a,b python=3.12 cache:Off",
    ),
    ("uv sync --package web --package jobs --all-packages", "sync all-packages packages=web,jobs"),
    ("UV_PROJECT_ENVIRONMENT=/usr/local uv sync --frozen", "sync /usr/local frozen"),
    ("uv venv", "venv Uv System .venv"),
    ("uv venv /opt/venv --python 3.12", r#"venv Uv Asked("3.12") /opt/venv"#),
    ("uv venv --seed --clear /opt/venv && uv cache clean", "venv Uv System /opt/venv pip clear"),
];

#[test]
fn uv_installs_and_syncs() {
    check(UV);
}

const POETRY: &[(&str, &str)] = &[
    ("poetry install --no-root --only main", "poetry poetry only=main no-root"),
    (
        "poetry install --no-interaction --no-ansi --no-root --without dev,test",
        "poetry poetry without=dev,test no-root",
    ),
    (
        "poetry config virtualenvs.create false && poetry install --no-interaction --no-ansi",
        "poetry-config Create=false; poetry poetry",
    ),
    ("poetry config virtualenvs.in-project true --local", "poetry-config InProject=true"),
    (
        r#"poetry install --only=main --extras "a b" -E c --all-extras --sync"#,
        "poetry poetry only=main extras=a,b,c all-extras sync",
    ),
    (
        "POETRY_VIRTUALENVS_CREATE=false poetry install --no-dev --no-cache",
        "poetry poetry only=main create=false cache:Off",
    ),
    ("/opt/poetry/bin/poetry sync --with docs --compile", "poetry /opt/poetry/bin/poetry with=docs sync compiles"),
];

#[test]
fn poetry_installs_and_is_told_where() {
    check(POETRY);
}

const ENVIRONMENTS: &[(&str, &str)] = &[
    ("python -m venv /opt/venv", r#"venv Venv Named("python") /opt/venv pip"#),
    ("python3 -m venv --copies --system-site-packages .venv", r#"venv Venv Named("python3") .venv copies site pip"#),
    ("python -m venv /venv --upgrade-deps", r#"venv Venv Named("python") /venv pip upgrade-deps"#),
    ("python3.11 -m venv --without-pip --clear /venv", r#"venv Venv Named("python3.11") /venv clear"#),
    (
        "python -m venv /opt/venv && /opt/venv/bin/pip install --upgrade pip && /opt/venv/bin/pip install -r requirements.txt",
        r#"venv Venv Named("python") /opt/venv pip; Pip Path("/opt/venv/bin/pip"): <pip> upgrade compiles; Pip Path("/opt/venv/bin/pip"): -r=requirements.txt compiles"#,
    ),
    (
        "python -m venv /opt/venv && . /opt/venv/bin/activate && pip install flask",
        r#"venv Venv Named("python") /opt/venv pip; activate /opt/venv; Pip Named("pip"): <flask> compiles"#,
    ),
    ("virtualenv -p python3.11 /opt/venv", r#"venv Virtualenv Asked("python3.11") /opt/venv pip"#),
];

#[test]
fn environments_are_made_and_activated() {
    check(ENVIRONMENTS);
}

const USERS: &[(&str, &str)] = &[
    ("useradd -m app", "user Shadow app creates-home=true"),
    ("useradd -m -s /bin/bash -u 1000 app", "user Shadow app uid=1000 shell=/bin/bash creates-home=true"),
    (
        "useradd --create-home --shell /bin/bash appuser && chown -R appuser:appuser /app",
        r#"user Shadow appuser shell=/bin/bash creates-home=true; chown Some("appuser") Named("appuser") /app -R"#,
    ),
    (
        r#"useradd -r -g app -G sudo,docker -d /home/app -c "App user" app"#,
        r#"user Shadow app group=app groups=sudo,docker home=/home/app comment="App user" system"#,
    ),
    (
        "useradd --system --no-create-home --uid 10001 --gid 10001 app",
        "user Shadow app uid=10001 group=10001 creates-home=false system",
    ),
    ("useradd -ms /bin/bash app", "user Shadow app shell=/bin/bash creates-home=true"),
    (
        "useradd -l -u 33333 -G sudo -md /home/gitpod -s /bin/bash gitpod",
        "user Shadow gitpod uid=33333 groups=sudo home=/home/gitpod shell=/bin/bash creates-home=true -l",
    ),
    (
        "groupadd -r app && useradd --no-log-init -r -g app app",
        "group Shadow app None system; user Shadow app group=app system -l",
    ),
    ("groupadd --gid 1000 app", "group Shadow app Some(1000)"),
    (r#"adduser --disabled-password --gecos "" appuser"#, r#"user Adduser appuser comment="" Disabled"#),
    (
        "adduser --disabled-password --gecos '' --home /nonexistent --shell /sbin/nologin --no-create-home --uid 10001 appuser",
        r#"user Adduser appuser uid=10001 home=/nonexistent shell=/sbin/nologin comment="" creates-home=false Disabled"#,
    ),
    ("adduser --system --group app", "user Adduser app own-group=true system"),
    ("adduser --system --no-create-home --ingroup app app", "user Adduser app group=app creates-home=false system"),
    (
        "addgroup --system app && adduser --system --ingroup app app",
        "group Adduser app None system; user Adduser app group=app system",
    ),
    ("addgroup -S app && adduser -S -G app app", "group Busybox app None system; user Busybox app group=app system"),
    ("adduser -D -u 1000 app", "user Busybox app uid=1000 Disabled"),
    (
        "adduser -S -D -H -h /app -s /sbin/nologin -G app -g app app",
        r#"user Busybox app group=app home=/app shell=/sbin/nologin comment="app" creates-home=false system Disabled"#,
    ),
    ("addgroup --gid 1001 --system app", "group Adduser app Some(1001) system"),
    ("adduser app sudo", "member app of sudo"),
    ("addgroup app docker", "member app of docker"),
    ("adduser --group staffx", "group Adduser staffx None"),
];

#[test]
fn users_and_groups_are_added() {
    check(USERS);
}

const FILES: &[(&str, &str)] = &[
    (
        "mkdir -p /app/data /app/logs && chmod 777 /app/data && chown -R 1000:1000 /app",
        r#"mkdir /app/data /app/logs -p; chmod 777/777 /app/data; chown Some("1000") Named("1000") /app -R"#,
    ),
    ("mkdir /app", "mkdir /app"),
    ("mkdir -m 0700 -p /root/.ssh", "mkdir /root/.ssh -p 700"),
    (r#"mkdir -p ${APP_HOME}/static "$APP_HOME/media files""#, "mkdir /app/static /app/media files -p"),
    ("mkdir -pv -m u=rwx,go=rx /srv/app", "mkdir /srv/app -p 755"),
    ("mkdir -p ~/.config", "mkdir /root/.config -p"),
    ("chmod +x /entrypoint.sh", "chmod 751/751 /entrypoint.sh"),
    ("chmod 0755 start.sh && chmod +x ./wait-for-it.sh", "chmod 755/755 start.sh; chmod 751/751 ./wait-for-it.sh"),
    ("chmod -R a+rX,u+w /app", "chmod 644/755 /app -R"),
    ("chmod -R u+rwX,g+rX,o-rwx /data", "chmod 640/750 /data -R"),
    ("chmod 755 a b c", "chmod 755/755 a b c"),
    ("chmod --recursive g=u /home/app", "chmod 660/770 /home/app -R"),
    ("chown app:app /app", r#"chown Some("app") Named("app") /app"#),
    ("chown -R app /app", r#"chown Some("app") Kept /app -R"#),
    ("chown -R app: /app", r#"chown Some("app") Own /app -R"#),
    ("chown -R :staff /srv", r#"chown None Named("staff") /srv -R"#),
    ("chown -Rh 1001:0 /opt/app", r#"chown Some("1001") Named("0") /opt/app -R -h"#),
    ("chgrp -R 0 /app && chmod -R g=u /app", r#"chown None Named("0") /app -R; chmod 660/770 /app -R"#),
    ("ln -s /usr/local/bin/python3 /usr/bin/python", "ln /usr/local/bin/python3 /usr/bin/python -s"),
    ("ln -sf python3 /usr/bin/python", "ln python3 /usr/bin/python -s -f"),
    ("ln -sfn /app/releases/1 /app/current", "ln /app/releases/1 /app/current -s -f -n"),
    ("ln a b", "ln a b"),
    ("ln -s /opt/tool", "ln /opt/tool - -s"),
    ("ln -sfT a b", "ln a b -s -f -T"),
    ("rm -rf /tmp/build", "rm /tmp/build -r -f"),
    ("rm -rf /root/.cache/pip /tmp/requirements.txt", "rm /root/.cache/pip /tmp/requirements.txt -r -f"),
    ("rm requirements.txt", "rm requirements.txt"),
    ("rm -rf uvicorn[a]", "rm uvicorn[a] -r -f"),
    ("rm -r -f -- -x", "rm -x -r -f"),
    ("touch /app/__init__.py", "touch /app/__init__.py"),
    ("touch -c a", "touch a -c"),
    ("rm -rf /x || true", "rm /x -r -f"),
    ("mkdir -p /x || :", "mkdir /x -p"),
    ("rm -rf /tmp/* /var/tmp/*", "rm /tmp/* /var/tmp/* -r -f"),
    ("chmod +x /app/*.sh", "chmod 751/751 /app/*.sh"),
    (r#"mkdir -p "a\`b\`""#, "mkdir a`b` -p"),
];

#[test]
fn files_are_arranged() {
    check(FILES);
}

const SCRIPTS: &[(&str, &str)] = &[
    ("set -ex; pip install flask", r#"Pip Named("pip"): <flask> compiles"#),
    (
        "set -eux && pip install flask && rm -f requirements.txt",
        r#"Pip Named("pip"): <flask> compiles; rm requirements.txt -f"#,
    ),
    ("export PIP_NO_CACHE_DIR=1 && pip install flask", r#"Pip Named("pip"): <flask> compiles cache:Off"#),
    ("PIP_NO_CACHE_DIR=off pip install flask", r#"Pip Named("pip"): <flask> compiles cache:Off"#),
    (
        "PIP_INDEX_URL=https://i.example/simple pip install -r requirements.txt",
        r#"Pip Named("pip"): -r=requirements.txt index-url=https://i.example/simple compiles"#,
    ),
    (
        "PIP_CONFIG_FILE=/run/secrets/pip.conf pip install -r requirements.txt",
        r#"Pip Named("pip"): -r=requirements.txt compiles config:Named("/run/secrets/pip.conf")"#,
    ),
    (
        r#"export PIP_EXTRA_INDEX_URL="https://a.example/s https://b.example/s" PIP_DEFAULT_TIMEOUT=60; pip install flask"#,
        r#"Pip Named("pip"): <flask> extra-index-url=https://a.example/s https://b.example/s timeout=60 compiles"#,
    ),
    ("FOO=bar; pip install flask==$FOO", r#"Pip Named("pip"): <flask==bar> compiles"#),
    ("cd /app && pip install -r requirements.txt", r#"cd /app; Pip Named("pip"): -r=requirements.txt compiles"#),
    ("cd /app; cd src; mkdir x", "cd /app; cd src; mkdir x"),
    ("true", ""),
    (":", ""),
    (r#"echo "hello world""#, ""),
    ("echo hello && true", ""),
    ("set -e;    mkdir -p   /a\t/b  ;  chmod a+rw /b", "mkdir /a /b -p; chmod 666/776 /b"),
];

#[test]
fn scripts_are_lists_of_commands() {
    check(SCRIPTS);
}
