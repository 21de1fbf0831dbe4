"""The parts that `table.py` puts beside each other: servers, peers, a project, and a stopwatch.

Nothing here knows which rows the table has.
"""

import contextlib
import gzip
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

SOURCE_FILES = 200
REQUIREMENTS = ["zenml==0.98.0", "pandas", "scikit-learn", "numpy", "requests"]
# Small, pure, without requirements of their own, and in none of the above.
ADDED = ["tabulate", "xmltodict", "toolz", "humanize", "inflection", "blinker", "docopt-ng", "colorama", "termcolor",
         "pyfiglet", "cachetools", "unidecode"]
SITE = "usr/local/lib/python3.11/dist-packages"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
DEBIAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextlib.contextmanager
def workplace(root, name):
    """A folder of its own below `root`, and what is closed before it goes; a failure ends with the end of its log."""
    root.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
    try:
        with contextlib.ExitStack() as stack:
            yield work, stack
    except (Failed, subprocess.SubprocessError) as error:
        log = work / "log"
        sys.exit(f"{error}\n{log.read_text()[-2000:] if log.is_file() else ''}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


class Failed(Exception):
    """A command ended otherwise than it should."""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Stopwatch:
    """Runs commands and says how long they took, in seconds of wall time."""

    def __init__(self, log):
        self.log = log.open("w")

    def run(self, command, cwd=None, env=None, output=None):
        command = [str(word) for word in command]
        stdout = self.log if output is None else output
        start = time.perf_counter()
        ended = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=self.log)
        took = time.perf_counter() - start
        if ended.returncode != 0:
            raise Failed(f"{' '.join(command)}: exit code {ended.returncode}; see {self.log.name}")
        return took

    def peak(self, command, cwd=None, env=None):
        """The largest resident set of the command, in MiB, as GNU time tells it."""
        said = Path(self.log.name).with_name("peak")
        # Not from `subprocess` itself: its child starts out with the resident set of this interpreter.
        self.run(["/usr/bin/time", "-f", "%M", "-o", said, *command], cwd, env)
        return int(said.read_text().split()[-1]) / 1024


def median(runs):
    return statistics.median(runs)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A child that serves until `stop`; ended by its own process id."""

    def __init__(self, name, command, folder, is_ready):
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name}.log"
        command = [str(word) for word in command]
        if shutil.which("setpriv"):
            # The kernel ends the server when this script dies first.
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        with self.log.open("w") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not is_ready():
            if self.child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Failed(f"{name} does not start: {self.log.read_text()[-400:]}")
            time.sleep(0.05)

    def resident(self, field):
        """`VmRSS` or `VmHWM` of the process, in MiB."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


def answers(address):
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def registry(kind, lapstrake, folder):
    """Starts the registry server `docker-registry` or `embedded`; gives it and its address."""
    address = f"127.0.0.1:{free_port()}"
    folder.mkdir(parents=True)
    if kind == "embedded":
        command = [lapstrake, "registry", "serve", folder / "data", "--listen", address]
    else:
        config = folder / "config.yml"
        config.write_text(
            f"version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"
            f"storage:\n  filesystem:\n    rootdirectory: {folder / 'data'}\nhttp:\n  addr: {address}\n"
        )
        command = ["docker-registry", "serve", config]
    return Server(kind, command, folder, lambda: answers(address)), address


def parent_layer(cache, stopwatch):
    """The layer of a small Debian with python3; made once by mmdebstrap, shared with the end-to-end suite."""
    file = cache / "e2e" / "parents" / "plain-1.tar.gz"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        tar = file.with_name("bench-unfinished.tar")
        include = "--include=python3,python3-pip,python3-venv,ca-certificates"
        stopwatch.run(["mmdebstrap", "--variant=minbase", include, "bookworm", tar])
        with tar.open("rb") as plain, gzip.GzipFile(tar.with_suffix(".gz"), "wb", 1, mtime=0) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)
        tar.unlink()
        tar.with_suffix(".gz").rename(file)
    return file


def push_parent(cache, work, address, stopwatch):
    """Pushes the parent, with this machine's certificates, by crane."""
    certificates = work / "certificates.tar"
    with tarfile.open(certificates, "w") as tar:
        tar.add("/" + CERTIFICATES, CERTIFICATES)
    reference = f"{address}/parents/plain:bookworm"
    append = ["crane", "append", "--oci-empty-base", "--new_tag", reference]
    layers = [parent_layer(cache, stopwatch), certificates]
    stopwatch.run(append + [word for layer in layers for word in ("--new_layer", layer)])
    change = ["--set-platform", "linux/amd64", "--env", f"PATH={DEBIAN_PATH}"]
    stopwatch.run(["crane", "mutate", reference, "--tag", reference, *change])
    return reference


class Project:
    """A source tree of 200 files with its requirements."""

    def __init__(self, folder):
        self.folder, self.edits, self.added = folder, 0, 0
        for number in range(SOURCE_FILES - 1):
            file = folder / f"package_{number // 20}" / f"module_{number}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = (f"def step_{line}(value):\n    return value + {number * line}\n" for line in range(40))
            file.write_text("".join(lines))
        self.write_requirements()

    def write_requirements(self):
        lines = REQUIREMENTS + ADDED[: self.added]
        (self.folder / "requirements.txt").write_text("\n".join(lines) + "\n")

    def edit(self):
        self.edits += 1
        (self.folder / "package_0" / "module_0.py").write_text(f"EDITED = {self.edits}\n")

    def add_requirement(self):
        self.added += 1
        self.write_requirements()


class Lapstrake:
    """The command under test; its own store and uv's cache lie in one folder that can be started over."""

    def __init__(self, program, work, uv, parent):
        self.program, self.work, self.uv, self.parent, self.fresh_count = program, work, uv, parent, 0
        self.start_over()

    def start_over(self):
        """As on a machine that has built nothing: an empty store and an empty uv cache."""
        self.fresh_count += 1
        self.state = self.work / "lapstrake" / str(self.fresh_count)
        self.state.mkdir(parents=True)

    @property
    def store(self):
        return self.state / "store"

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAPSTRAKE_", "UV_"))}
        kept["UV_CACHE_DIR"] = str(self.state / "uv")
        if self.uv:
            kept["LAPSTRAKE_UV"] = str(self.uv)
        return kept

    def build(self, target, requirements="requirements.txt"):
        return [self.program, "build", "--parent-image", self.parent, "-r", requirements, "--tag", target,
                "--store", self.store, "--progress", "none"]


class BuildKit:
    """buildkitd and buildctl with the Dockerfile that such a project has; uv installs, as it is the fastest."""

    DOCKERFILE = """FROM {parent}
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=bind,from=tools,source=uv,target=/usr/local/bin/uv SSL_CERT_FILE=/{certificates} \\
    uv pip install --system --break-system-packages --no-cache -r requirements.txt
COPY . .
"""

    def __init__(self, bin_folder, work, uv, parent):
        self.folder = work / "buildkit"
        self.folder.mkdir(parents=True)
        found = [shutil.which(name, path=f"{bin_folder}:{os.environ['PATH']}") for name in ("buildctl", "buildkitd")]
        if not all(found):
            raise Failed("not installed")
        if not shutil.which("runc") or not uv:
            raise Failed("not installed (it needs runc and uv)")
        self.buildctl, daemon = found
        address = parent.split("/")[0]
        config = self.folder / "buildkitd.toml"
        config.write_text(f'[registry."{address}"]\n  http = true\n[worker.oci]\n  gc = false\n')
        self.socket = f"unix://{self.folder}/sock"
        command = [daemon, "--config", config, "--root", self.folder / "root", "--addr", self.socket,
                   "--oci-worker-net=host", "--containerd-worker=false"]
        control = [self.buildctl, "--addr", self.socket]
        answer = lambda: subprocess.run([*control, "debug", "workers"], capture_output=True).returncode == 0
        self.server = Server("buildkitd", command, self.folder, answer)
        self.control, self.context = control, self.folder / "dockerfile"
        tools = self.folder / "tools"
        self.context.mkdir()
        tools.mkdir()
        shutil.copy(uv, tools / "uv")
        text = self.DOCKERFILE.format(parent=parent, certificates=CERTIFICATES)
        (self.context / "Dockerfile").write_text(text)
        (self.context / "Dockerfile.site").write_text(f"FROM {parent}\nCOPY . /{SITE}/\n")
        self.tools = ["--opt", "context:tools=local:tools", "--local", f"tools={tools}"]

    def build(self, context, target, *more, file="Dockerfile"):
        return [*self.control, "build", "--progress=plain", "--frontend=dockerfile.v0", "--opt", f"filename={file}",
                "--local", f"context={context}", "--local", f"dockerfile={self.context}", *self.tools,
                "--output", f"type=image,name={target},push=true", *more]

    def prune(self):
        return [*self.control, "prune", "--all"]

    def stop(self):
        self.server.stop()
