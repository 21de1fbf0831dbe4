"""Builds the Dockerfiles of fixtures/dockerfiles by lapstrake and by BuildKit, side by side, and prints ratios.

    cargo build --release && python3 benches/dockerfiles.py [--json FILE]

For each file, in one run on one machine, the two taking turns:

- cold: nothing was built before, and the parents lie in a registry on loopback; packages come from the package index;
- after an edit: one line more in one source file, on the same machine;
- after an edit, kept: the same, and BuildKit exports its cache as well, so that both leave what the next machine needs;
- fresh machine: an empty store, and an empty BuildKit that imports the cache it exported to the registry before
  (mode=max); with nothing changed, and after an edit.

Each figure is the median of `--runs` runs. The parents are made by the end-to-end suite:
`cargo test --release --test e2e -- "the comparison sees nothing"`. Needs root, buildctl, buildkitd, runc, crane and uv.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from table_parts import CERTIFICATES, Failed, Server, Stopwatch, median, registry, say, workplace

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lapstrake-ci"
FIXTURES = HERE.parent / "fixtures" / "dockerfiles"
PYTHON_VERSION = "3.11.2"
PYTHON_PATH = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCENES = ["cold", "after an edit", "after an edit, kept", "fresh machine", "fresh machine, after an edit"]
GOALS = {"cold": 4, "after an edit": 15, "fresh machine, after an edit": 25}


class Fixture:
    """A Dockerfile with its context, in a folder of its own."""

    def __init__(self, name, work, environment):
        self.name, self.edits = name, 0
        self.context, self.secrets = work / name / "context", work / name / "secrets"
        shutil.copytree(FIXTURES / name, self.context, symlinks=True)
        text = (self.context / "expected.json").read_text()
        if "${INDEX}" in text:
            asked = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
            index = subprocess.run(["python3", "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
            text = text.replace("${INDEX}", index)
        self.expected = json.loads(text)
        (self.context / "expected.json").unlink()
        self.secrets.mkdir()
        for words in self.expected.get("before", []):
            subprocess.run(words, cwd=self.context, env=environment, check=True, stderr=subprocess.DEVNULL)
        self.environment = {}
        for name, value in self.expected.get("secretVariables", {}).items():
            self.environment["BENCH_" + name.upper().replace("-", "_")] = value
        for name, value in self.expected.get("secrets", {}).items():
            (self.secrets / name).write_text(value)

    @property
    def is_native(self):
        return self.expected.get("backend") is None

    @property
    def file(self):
        return self.context / self.expected.get("file", "Dockerfile")

    def secret_words(self):
        files = [f"id={name},src={self.secrets / name}" for name in self.expected.get("secrets", {})]
        variables = [f"id={name},env=BENCH_{name.upper().replace('-', '_')}"
                     for name in self.expected.get("secretVariables", {})]
        return [word for secret in files + variables for word in ("--secret", secret)]

    def edit(self):
        self.edits += 1
        with (self.context / self.expected["edit"]).open("a") as file:
            file.write(f"# edit {self.edits}\n")


class Lapstrake:
    """The command under test."""

    name = "lapstrake"

    def __init__(self, bench):
        self.bench, self.count = bench, 0
        config = bench.work / "config.yaml"
        mirrors = "".join(f"  {host}:\n    mirrors: [{bench.address}]\n" for host in ("docker.io", "ghcr.io"))
        config.write_text(f"registries:\n{mirrors}")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        self.environment |= {"LAPSTRAKE_CONFIG": str(config), "LAPSTRAKE_LEDGER": "off"}
        self.environment["BUILDKIT_HOST"] = bench.buildkit.address
        self.start_over()

    def start_over(self):
        """As on a machine that has built nothing."""
        shutil.rmtree(self.bench.work / f"store-{self.count}", ignore_errors=True)
        self.count += 1
        store = self.bench.work / f"store-{self.count}"
        self.environment |= {"LAPSTRAKE_STORE": str(store / "store"), "UV_CACHE_DIR": str(store / "uv")}

    def command(self, fixture, target):
        words = [self.bench.options.binary, "build", "--progress", "none", "--dockerfile", fixture.file, "--context",
                 fixture.context, "--tag", target]
        if fixture.is_native:
            words += ["--backend", "none"]
        if fixture.expected.get("target"):
            words += ["--target", fixture.expected["target"]]
        for name, value in fixture.expected.get("buildArgs", {}).items():
            words += ["--build-arg", f"{name}={value}"]
        return words + fixture.secret_words()

    def build(self, fixture, target, fresh=False):
        return self.bench.stopwatch.run(self.command(fixture, target), cwd=self.bench.work,
                                        env=self.environment | fixture.environment)

    def keep(self, fixture, target):
        """Every build leaves what another machine needs."""
        return self.build(fixture, target)

    def peak(self, fixture, target):
        return self.bench.stopwatch.peak(self.command(fixture, target), cwd=self.bench.work,
                                         env=self.environment | fixture.environment)


class BuildKit:
    """A buildkitd of its own, and buildctl."""

    name = "BuildKit"

    def __init__(self, bench):
        self.bench, folder = bench, bench.work / "buildkit"
        folder.mkdir()
        config = folder / "buildkitd.toml"
        mirrors = "".join(f'[registry."{host}"]\n  mirrors = ["{bench.address}"]\n' for host in ("docker.io", "ghcr.io"))
        config.write_text(f'[registry."{bench.address}"]\n  http = true\n{mirrors}[worker.oci]\n  gc = false\n')
        # A socket has a short path only.
        self.sockets = Path(tempfile.mkdtemp(prefix="lapstrake-bench-"))
        self.address = f"unix://{self.sockets}/sock"
        self.control = ["buildctl", "--addr", self.address]
        command = ["buildkitd", "--config", config, "--root", folder / "root", "--addr", self.address,
                   "--oci-worker-net=host", "--containerd-worker=false"]
        ready = lambda: subprocess.run([*self.control, "debug", "workers"], capture_output=True).returncode == 0
        self.server = Server("buildkitd", command, folder, ready)

    def start_over(self):
        """As on a machine that has built nothing: no layer, no parent, no context is left."""
        self.bench.stopwatch.run([*self.control, "prune", "--all"])

    def command(self, fixture, target, *more):
        file = fixture.file
        # A `# syntax=` line would have the frontend fetched; this is the same language, built in.
        words = [*self.control, "build", "--progress=plain", "--frontend=dockerfile.v0", "--opt", f"filename={file.name}",
                 "--opt", "cmdline=docker/dockerfile:1", "--local", f"context={fixture.context}",
                 "--local", f"dockerfile={file.parent}", "--output", f"type=image,name={target},push=true"]
        if fixture.expected.get("target"):
            words += ["--opt", f"target={fixture.expected['target']}"]
        for name, value in fixture.expected.get("buildArgs", {}).items():
            words += ["--opt", f"build-arg:{name}={value}"]
        return [*words, *fixture.secret_words(), *more]

    def run(self, fixture, target, *more):
        return self.bench.stopwatch.run(self.command(fixture, target, *more), env={**os.environ, **fixture.environment})

    def build(self, fixture, target, fresh=False):
        cache = ["--import-cache", f"type=registry,ref={target}-cache"] if fresh else []
        return self.run(fixture, target, *cache)

    def keep(self, fixture, target):
        return self.run(fixture, target, "--export-cache", f"type=registry,ref={target}-cache,mode=max")

    def stop(self):
        self.server.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)


class Bench:
    """The registry with the parents, the two builders, and what was measured."""

    def __init__(self, options, work, stack):
        self.options, self.work = options, work
        self.stopwatch = Stopwatch(work / "log")
        server, self.address = registry(options.registry, options.binary, work / "registry")
        stack.callback(server.stop)
        push_parents(work, self.address, self.stopwatch)
        self.buildkit = BuildKit(self)
        stack.callback(self.buildkit.stop)
        self.builders = [self.buildkit] if options.buildkit_alone else [Lapstrake(self), self.buildkit]
        self.found = {}

    def measure(self, name):
        environment = {**os.environ, "UV_CACHE_DIR": str(self.work / "uv-of-locks")}
        fixture = Fixture(name, self.work / "fixtures", environment)
        figures = {scene: {builder.name: [] for builder in self.builders} for scene in SCENES}
        for number in range(self.options.runs):
            for builder in self.builders:
                target = f"{self.address}/bench/{builder.name.lower()}/{name}-{number}:1"
                for scene, seconds in self.once(builder, fixture, target):
                    figures[scene][builder.name].append(seconds)
        peak = None if self.options.buildkit_alone or not shutil.which("time") else self.peak(fixture)
        self.found[name] = {"native": fixture.is_native, "seconds": figures, "peak": peak}
        shutil.rmtree(self.work / "fixtures" / name)
        last = {scene: [f"{runs[-1]:.2f}" for runs in sides.values()] for scene, sides in figures.items()}
        say(f"{name}: " + "; ".join(f"{scene} {' / '.join(seconds)}" for scene, seconds in last.items()))

    def once(self, builder, fixture, target):
        builder.start_over()
        yield SCENES[0], builder.build(fixture, target)
        fixture.edit()
        yield SCENES[1], builder.build(fixture, target)
        # The first export has more to do than those after it.
        builder.keep(fixture, target)
        fixture.edit()
        yield SCENES[2], builder.keep(fixture, target)
        builder.start_over()
        yield SCENES[3], builder.build(fixture, target, fresh=True)
        builder.start_over()
        fixture.edit()
        yield SCENES[4], builder.build(fixture, target, fresh=True)

    def peak(self, fixture):
        """The memory of a cold build, in MiB."""
        lapstrake = self.builders[0]
        lapstrake.start_over()
        return lapstrake.peak(fixture, f"{self.address}/bench/peak/{fixture.name}:1")


def push_parents(work, address, stopwatch):
    """Pushes the parents under the names that stand behind FROM."""
    made = sorted((CACHE / "e2e" / "parents").glob("official-*.tar.gz"))
    debian = CACHE / "e2e" / "parents" / "plain-1.tar.gz"
    if not made or not debian.is_file():
        raise Failed("no parents: see --help")
    certificates = work / "certificates.tar"
    with tarfile.open(certificates, "w") as tar:
        tar.add("/" + CERTIFICATES, CERTIFICATES)
    programs = {}
    for folder in ("", "usr/local/bin/"):
        programs[folder] = work / f"uv-{len(programs)}.tar"
        with tarfile.open(programs[folder], "w") as tar:
            for name in ("uv", "uvx"):
                tar.add(os.path.realpath(shutil.which(name)), folder + name)
    variables = [f"PATH={PYTHON_PATH}", f"PYTHON_VERSION={PYTHON_VERSION}", "LANG=C.UTF-8", f"SSL_CERT_FILE=/{CERTIFICATES}",
                 f"REQUESTS_CA_BUNDLE=/{CERTIFICATES}"]
    python = [word for variable in variables for word in ("--env", variable)] + ["--cmd", "python3"]
    base = [made[-1], certificates]
    images = {f"library/python:{tag}": (base, python) for tag in ("3.11", "3.11-slim", "3.11-slim-bookworm")}
    images["astral-sh/uv:latest"] = ([programs[""]], ["--entrypoint", "/uv"])
    images["astral-sh/uv:python3.11-bookworm-slim"] = ([*base, programs["usr/local/bin/"]], python)
    images["library/debian:bookworm"] = ([debian, certificates], ["--env", "LANG=C.UTF-8", "--cmd", "bash"])
    for name, (layers, change) in images.items():
        reference = f"{address}/{name}"
        append = ["crane", "append", "--oci-empty-base", "--new_tag", reference]
        stopwatch.run(append + [word for layer in layers for word in ("--new_layer", layer)])
        stopwatch.run(["crane", "mutate", reference, "--tag", reference, "--set-platform", "linux/amd64", *change])


def ratio(found, scene):
    """How much longer BuildKit takes; `None` where one of the two was not measured."""
    ours, theirs = (found["seconds"][scene].get(name) for name in (Lapstrake.name, BuildKit.name))
    return median(theirs) / median(ours) if ours and theirs else None


def report(bench):
    lines = ["| file | " + " | ".join(SCENES) + " | peak (MiB) |", "| --- |" + " --- |" * (len(SCENES) + 1)]
    for name, found in bench.found.items():
        cells = []
        for scene in SCENES:
            both = " / ".join(f"{median(runs):.2f}" for runs in found["seconds"][scene].values())
            times = ratio(found, scene)
            cells.append(both + (f" (×{times:.1f})" if times else ""))
        label = name if found["native"] else f"{name} (backend)"
        lines.append(f"| {label} | " + " | ".join(cells) + f" | {found['peak'] or 0:.0f} |")
    lines.append("")
    for kind, chosen in summary(bench).items():
        lines.append(f"- {kind}: " + ", ".join(f"{scene} ×{times:.1f}" for scene, times in chosen.items()))
    sides = " / ".join(builder.name for builder in bench.builders)
    lines.append("")
    lines.append(f"Seconds: {sides}; registry: {bench.options.registry}; medians of {bench.options.runs}, {datetime.date.today()}, {os.cpu_count()} cores, "
                 f"{platform.system()} {platform.machine()}; in brackets how much longer BuildKit takes.")
    lines.append("To reach, median over the native ones: " + ", ".join(f"{scene} ×{times}" for scene, times in GOALS.items()) + ".")
    return "\n".join(lines)


def summary(bench):
    """The median ratio of each scene, over the files that need no backend, and over all."""
    chosen = {}
    for kind, keep in (("native", lambda found: found["native"]), ("all", lambda found: True)):
        ratios = {scene: [ratio(found, scene) for found in bench.found.values() if keep(found)] for scene in SCENES}
        known = {scene: [times for times in all_times if times] for scene, all_times in ratios.items()}
        chosen[f"median of {sum(map(keep, bench.found.values()))} {kind}"] = {
            scene: median(times) for scene, times in known.items() if times}
    return chosen


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target")
    parser.add_argument("--binary", type=Path, default=target / "release" / "lapstrake", help="lapstrake to measure")
    parser.add_argument("--registry", choices=["docker-registry", "embedded"], default="docker-registry",
                        help="the registry on loopback [default: docker-registry]")
    parser.add_argument("-n", "--runs", type=int, default=3, help="runs for each figure [default: 3]")
    parser.add_argument("--only", default="", metavar="PART[,PART]", help="the files whose name has one of these parts")
    parser.add_argument("--buildkit-alone", action="store_true", help="leave lapstrake out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def main():
    options = arguments()
    needed = ["buildctl", "buildkitd", "runc", "crane", "docker-registry", "uv", "uvx"]
    missing = [name for name in needed if not shutil.which(name)]
    if missing or not (options.binary.is_file() or options.buildkit_alone):
        sys.exit(f"missing: {', '.join(missing) or options.binary}")
    options.binary = options.binary.resolve()
    parts = [part for part in options.only.split(",") if part]
    names = sorted(folder.name for folder in FIXTURES.iterdir())
    names = [name for name in names if not parts or any(part in name for part in parts)]
    with workplace(CACHE / "bench", "dockerfiles") as (work, stack):
        bench = Bench(options, work, stack)
        for name in names:
            try:
                bench.measure(name)
            except Failed as error:
                say(f"{name}: {error}\n{(work / 'log').read_text()[-1500:]}")
        print(report(bench))
        if options.json:
            figures = {"files": bench.found, "medians": summary(bench), "runs": options.runs, "cores": os.cpu_count()}
            options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
