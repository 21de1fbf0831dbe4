"""Measures whole commands side by side in one run on one machine, and prints a Markdown table with ratios.

    cargo build --release && python3 benches/table.py

Beside lapstrake it runs BuildKit, crane and uv where they are installed (`--how-to-install` says how). The registry
is Debian's docker-registry on loopback, or `--registry embedded`. Packages come from the configured package index, so
the first row depends on the network. Every figure is the median of `--runs` runs; `-v` prints each of them.
Needs Linux, root for BuildKit, and mmdebstrap and crane for the parent image.
"""

import argparse
import contextlib
import datetime
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import huge_wheel
from table_parts import (ADDED, SITE, BuildKit, Failed, Lapstrake, Project, Stopwatch, median, push_parent, registry,
                         say)

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lapstrake-ci"
PEERS = ["lapstrake", "BuildKit", "crane", "uv alone"]
HOW_TO_INSTALL = f"""crane:    go install github.com/google/go-containerregistry/cmd/crane@latest
BuildKit: in an empty folder
            go mod init peers
            go get github.com/moby/buildkit/cmd/buildkitd@v0.26.3 github.com/moby/buildkit/cmd/buildctl@v0.26.3
            go build -o {CACHE}/bench/bin/ github.com/moby/buildkit/cmd/buildkitd github.com/moby/buildkit/cmd/buildctl
          (`go install` refuses BuildKit for its exclude directives), and runc
uv:       pip install uv
others:   apt-get install mmdebstrap docker-registry runc time"""


class Table:
    """Rows of figures, printed at the end."""

    def __init__(self, runs, verbose):
        self.runs, self.verbose, self.rows, self.absent = runs, verbose, [], {}

    def measure(self, title, goal, works):
        """Measures a row; `works` maps a peer to a function of the run's number that gives seconds.

        The peers take turns, so that a disturbance hits all of them.
        """
        found = {peer: [] for peer in works}
        for number in range(self.runs):
            for peer, work in works.items():
                if peer in self.absent:
                    continue
                try:
                    found[peer].append(work(number))
                except Failed as error:
                    # A column that broke says so; the table goes on.
                    say(f"{title}: {peer}: {error}")
                    found[peer] = []
                    self.absent[peer] = "failed"
        if self.verbose:
            for peer, runs in found.items():
                say(f"{title}: {peer}: " + " ".join(f"{run:.3f}" for run in runs))
        self.add(title, goal, {peer: median(runs) for peer, runs in found.items() if runs}, seconds)

    def add(self, title, goal, figures, shown):
        ours = figures.get("lapstrake")
        cells = []
        for peer in PEERS:
            figure = figures.get(peer)
            if figure is None:
                cells.append(self.absent.get(peer, "–"))
            elif peer == "lapstrake" or not ours:
                cells.append(f"**{shown(figure)}**" if peer == "lapstrake" else shown(figure))
            else:
                cells.append(f"{shown(figure)} (×{figure / ours:.1f})")
        self.rows.append([title, goal, *cells])
        say("  " + " | ".join(self.rows[-1]))

    def markdown(self):
        head = ["work", "to reach", *PEERS]
        lines = [head, ["---"] * len(head), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def seconds(figure):
    return f"{figure:.3f} s" if figure < 0.1 else f"{figure:.2f} s" if figure < 10 else f"{figure:.1f} s"


def mebibytes(figure):
    return f"{figure:.1f} MiB"


class Bench:
    """The rows, in the order in which each finds the state that it needs."""

    def __init__(self, options, work, stack):
        self.options, self.work = options, work
        self.watch = Stopwatch(work / "commands.log")
        self.table = Table(options.runs, options.verbose)
        server, self.address = registry(options.registry, options.binary, work / "registry")
        self.server = server
        stack.callback(server.stop)
        self.idle = self.idle_memory()
        parent = push_parent(CACHE, work, self.address, self.watch)
        self.uv = uv_program()
        self.project = Project(work / "project")
        self.lapstrake = Lapstrake(options.binary, work, self.uv, parent)
        self.parent, self.buildkit = parent, None
        if not self.uv:
            self.table.absent["uv alone"] = "not installed"
        self.table.absent.update({peer: "left out" for peer in options.without})
        try:
            if "BuildKit" in options.without:
                raise Failed("left out")
            self.buildkit = BuildKit(CACHE / "bench" / "bin", work, self.uv, parent)
            stack.callback(self.buildkit.stop)
        except Failed as error:
            say(f"BuildKit: {error}")
            known = next((why for why in ("left out", "not installed") if why in str(error)), "does not start here")
            self.table.absent["BuildKit"] = known
        self.versions = self.find_versions()

    # Targets: a repository of its own for each peer, so that nobody finds what another left.
    def at(self, name):
        return f"{self.address}/{name}:latest"

    def ours(self, target="app", **variables):
        command = self.lapstrake.build(self.at(f"lapstrake/{target}"))
        return self.watch.run(command, self.project.folder, self.lapstrake.environment() | variables)

    def theirs(self, target, *more, context=None, file="Dockerfile"):
        command = self.buildkit.build(context or self.project.folder, self.at(f"buildkit/{target}"), *more, file=file)
        return self.watch.run(command)

    def uv_install(self, cache, target):
        command = [self.uv, "pip", "install", "--quiet", "--target", target, "--python-version", "3.11"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        environment["UV_CACHE_DIR"] = str(cache)
        return self.watch.run([*command, "-r", "requirements.txt"], self.project.folder, environment)

    def first(self):
        def ours(number):
            self.lapstrake.start_over()
            return self.ours("app" if number == self.options.runs - 1 else f"first-{number}")

        def theirs(number):
            self.watch.run(self.buildkit.prune())
            return self.theirs("app" if number == self.options.runs - 1 else f"first-{number}")

        def uv(number):
            return self.uv_install(self.work / f"uv-{number}", self.work / f"site-{number}")

        self.table.measure("first build of the requirements, cold", "3 s",
                           {"lapstrake": ours, "BuildKit": theirs, "uv alone": uv})
        self.site = self.work / f"site-{self.options.runs - 1}"
        self.uv_cache = self.work / f"uv-{self.options.runs - 1}"

    def unchanged(self):
        self.table.measure("nothing changed", "0.03 s",
                           {"lapstrake": lambda _: self.ours(), "BuildKit": lambda _: self.theirs("app")})

    def edited(self):
        base = None if "crane" in self.options.without else self.crane_base()

        def ours(_):
            self.project.edit()
            return self.ours()

        self.table.measure("one source file edited, warm", "0.05 s", {
            "lapstrake": ours,
            "BuildKit": lambda _: self.theirs("app"),
            "crane": lambda number: self.crane_append(base, self.source_tar(), f"crane/app:edit-{number}"),
        })

    def fresh(self):
        cache = f"ref={self.address}/buildkit/cache:latest"
        if self.buildkit:
            self.theirs("app", "--export-cache", f"type=registry,mode=max,{cache}")

        def ours(_):
            self.project.edit()
            self.lapstrake.start_over()
            return self.ours()

        def theirs(_):
            self.watch.run(self.buildkit.prune())
            return self.theirs("app", "--import-cache", f"type=registry,{cache}")

        warm = self.lapstrake.state
        self.table.measure("the same on a fresh machine, the registry has the image before", "0.3 s",
                           {"lapstrake": ours, "BuildKit": theirs})
        self.lapstrake.state = warm

    def added(self):
        def ours(_):
            self.project.add_requirement()
            return self.ours()

        self.table.measure("one small requirement added", "0.5 s", {
            "lapstrake": ours,
            "BuildKit": lambda _: self.theirs("app"),
            "uv alone": lambda _: self.uv_install(self.uv_cache, self.site),
        })

        def on_fresh_machine(_):
            self.project.add_requirement()
            self.lapstrake.start_over()
            return self.ours()

        warm = self.lapstrake.state
        self.table.measure("the same on a fresh machine, the registry has the image before", "–",
                           {"lapstrake": on_fresh_machine})
        self.lapstrake.state = warm

    def wheels(self):
        records = self.lapstrake.store / "records" / "layers"
        tar = self.site_tar()

        def ours(number):
            shutil.rmtree(records)
            return self.ours(f"wheels-{number}")

        def theirs(number):
            # Another time of change, so that the copy is not taken from the build before.
            (self.site / "number.txt").write_text(str(number))
            return self.theirs(f"wheels-{number}", context=self.site, file="Dockerfile.site")

        size = sum(file.stat().st_size for file in self.site.rglob("*") if file.is_file() and not file.is_symlink())
        self.table.measure(f"{size / 1e6:.0f} MB of site-packages to pushed layers", "0.7 s", {
            "lapstrake": ours,
            "BuildKit": theirs,
            "crane": lambda number: self.crane_append(self.parent, tar, f"crane/wheels-{number}:latest"),
        })

    def memory(self):
        if not Path("/usr/bin/time").is_file():
            say("peak memory: /usr/bin/time is not installed")
            return
        figures = {"lapstrake": self.idle["lapstrake --version"], "crane": self.peak(["crane", "version"])}
        self.table.add("resident, doing nothing (`--version`)", "–", figures, mebibytes)
        shutil.rmtree(self.lapstrake.store / "records" / "layers")
        figures = {"lapstrake": self.our_peak("memory", "requirements.txt")}
        figures["crane"] = self.peak(self.crane_command(self.parent, self.site_tar(), "crane/memory:latest"))
        if self.buildkit:
            figures["BuildKit"] = self.buildkit.server.resident("VmHWM")
        self.table.add("peak memory, these wheels to pushed layers", "32 MiB more", figures, mebibytes)
        lock, size = huge_wheel.make(CACHE / "bench" / "huge")
        with tempfile.TemporaryDirectory(dir=self.work) as state:
            self.lapstrake.state = Path(state)
            figures = {"lapstrake": self.our_peak("huge", lock)}
        self.table.add(f"peak memory, one wheel of {size / 1e9:.1f} GB", "32 MiB more", figures, mebibytes)

    def our_peak(self, target, requirements):
        command = self.lapstrake.build(self.at(f"lapstrake/{target}"), requirements)
        return self.peak(command, self.project.folder, self.lapstrake.environment())

    def peak(self, command, cwd=None, env=None):
        return self.watch.peak(command, cwd, env)

    def idle_memory(self):
        idle = {"lapstrake --version": self.peak([self.options.binary, "--version"])}
        if self.options.registry == "embedded":
            idle["lapstrake registry serve"] = self.server.resident("VmRSS")
            return idle
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            server, _ = registry("embedded", self.options.binary, Path(folder) / "registry")
            idle["lapstrake registry serve"] = server.resident("VmRSS")
            server.stop()
        return idle

    def crane_command(self, base, layer, target):
        return ["crane", "append", "-b", base, "-f", layer, "-t", f"{self.address}/{target}"]

    def crane_append(self, base, layer, target):
        return self.watch.run(self.crane_command(base, layer, target))

    def crane_base(self):
        """An image with the requirements, in the repository that crane then appends the sources in."""
        self.crane_append(self.parent, self.site_tar(), "crane/app:base")
        return f"{self.address}/crane/app:base"

    def site_tar(self):
        tar = self.work / "site.tar"
        if not tar.is_file():
            if not self.site.is_dir():
                self.uv_install_by_pip()
            with tarfile.open(tar, "w") as out:
                out.add(self.site, SITE)
        return tar

    def source_tar(self):
        tar = self.work / "sources.tar"
        with tarfile.open(tar, "w") as out:
            out.add(self.project.folder, "app")
        return tar

    def uv_install_by_pip(self):
        """Crane and BuildKit want an unpacked folder, whoever made it."""
        self.watch.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", self.site, "-r",
                        self.project.folder / "requirements.txt"])

    def find_versions(self):
        commands = {"lapstrake": [self.options.binary, "--version"], "crane": ["crane", "version"],
                    "uv": [self.uv, "--version"] if self.uv else None}
        if self.buildkit:
            commands["BuildKit"] = [self.buildkit.buildctl, "--version"]
        if self.options.registry != "embedded":
            commands["registry"] = ["docker-registry", "--version"]
        return [version(name, command) for name, command in commands.items() if command]

    def run(self):
        # In this order, since later rows live from what the first leaves.
        for row in [self.first, self.unchanged, self.edited, self.fresh, self.added, self.wheels, self.memory]:
            row()


def version(name, command):
    said = subprocess.run([str(word) for word in command], capture_output=True, text=True).stdout.split()
    number = next((word for word in said if word.lstrip("v")[:1].isdigit()), "of unknown version")
    return f"{name} {number.lstrip('v')}"


def uv_program():
    kept = CACHE / "tools" / "venv" / "bin" / "uv"
    found = shutil.which("uv") or (str(kept) if kept.is_file() else None)
    return found


def machine():
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}"


def report(bench, options):
    day = datetime.date.today().isoformat()
    idle = ", ".join(f"{figure:.1f} MiB for `{name}`" for name, figure in bench.idle.items())
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    where = "`lapstrake registry serve`" if options.registry == "embedded" else "Debian's docker-registry"
    return "\n".join([
        bench.table.markdown(),
        "",
        f"Medians of {options.runs} runs on {day}; {machine()}; registry: {where} on loopback. "
        + ", ".join(bench.versions) + f". Ratios in brackets are to lapstrake. Idle: {idle}. Load at the end: {load}.",
    ])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    binary = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target") / "release" / "lapstrake"
    parser.add_argument("-n", "--runs", type=int, default=3, help="runs for each figure [default: 3]")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every run")
    parser.add_argument("--registry", choices=["docker-registry", "embedded"], default="docker-registry")
    parser.add_argument("--binary", type=Path, default=binary, help="the lapstrake to measure")
    parser.add_argument("--without", action="append", default=[], metavar="PEER", choices=PEERS[1:], help="leave out")
    parser.add_argument("--no-memory", action="store_true", help="leave out the rows about memory")
    parser.add_argument("--keep", action="store_true", help="keep the folder with everything, and say where it is")
    parser.add_argument("--how-to-install", action="store_true", help="say how to install the peers")
    return parser.parse_args()


def main():
    options = arguments()
    if not 1 <= options.runs <= len(ADDED) // 2:
        sys.exit(f"--runs takes 1 to {len(ADDED) // 2}")
    if options.how_to_install:
        print(HOW_TO_INSTALL)
        return
    missing = [name for name in ("crane", "mmdebstrap") if not shutil.which(name)]
    if options.registry == "docker-registry" and not shutil.which("docker-registry"):
        missing.append("docker-registry")
    if missing or not options.binary.is_file():
        sys.exit(f"missing: {', '.join(missing) or options.binary}; see --how-to-install")
    (CACHE / "bench").mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE / "bench"))
    try:
        with contextlib.ExitStack() as stack:
            bench = Bench(options, work, stack)
            bench.run()
            print(report(bench, options))
    finally:
        if options.keep:
            say(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
