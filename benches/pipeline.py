"""Builds the images of a pipeline of 100 steps, and counts what is asked of the package index.

    cargo build --release && python3 benches/pipeline.py

Five sets of requirements over synthetic wheels, which an index on loopback serves and counts; one source tree; the
embedded registry with the demo's parent. First one image of each set, on a fresh machine; then the pipeline, on another
fresh machine, once with equal settings in all steps of a set and once with a variable of its own in every step; then the
same into an empty registry with a warm store; then again with nothing changed, and with one file edited. Needs uv.
"""

import argparse
import base64
import hashlib
import http.server
import io
import json
import os
import random
import sys
import threading
import zipfile
from pathlib import Path

from copying import CONFIG, LAYER, MANIFEST, ask, push_blob
from table_parts import Stopwatch, registry, workplace

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lapstrake-ci"
DEMO = HERE.parent / "fixtures" / "demo"
SETS, SHARED, OWN = 5, 12, 4
WHEEL_BYTES = 1 << 20


def wheel(name):
    """A pure wheel of `name` 1.0 with a megabyte of noise, and its metadata."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": b"",
        f"{name}/data.bin": random.Random(name).randbytes(WHEEL_BYTES),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, content in files.items():
        hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={hashed},{len(content)}\n")
    files[f"{info}/RECORD"] = ("".join(rows) + f"{info}/RECORD,,\n").encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue(), metadata


class Index(http.server.ThreadingHTTPServer):
    """A package index (PEP 691 and PEP 658) that counts the requests for wheels."""

    daemon_threads = True

    def __init__(self, names):
        super().__init__(("127.0.0.1", 0), IndexRequest)
        self.wheels = {name: wheel(name) for name in names}
        self.lock, self.wheel_requests, self.page_requests = threading.Lock(), 0, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/simple"

    def taken(self):
        """Requests for wheels and for pages since the last call."""
        with self.lock:
            counts = self.wheel_requests, self.page_requests
            self.wheel_requests = self.page_requests = 0
            return counts


class IndexRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        words = self.path.strip("/").split("/")
        name = words[1].replace("-", "_").split("-1.0")[0] if len(words) > 1 else ""
        if words[0] == "simple" and name in self.server.wheels:
            self.count(page=1)
            content, metadata = self.server.wheels[name]
            file = {"filename": f"{name}-1.0-py3-none-any.whl", "url": f"../../files/{name}-1.0-py3-none-any.whl",
                    "hashes": {"sha256": hashlib.sha256(content).hexdigest()}, "size": len(content),
                    "core-metadata": {"sha256": hashlib.sha256(metadata).hexdigest()}}
            page = {"meta": {"api-version": "1.1"}, "name": words[1], "files": [file], "versions": ["1.0"]}
            return self.answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
        if words[0] == "files":
            name = words[1].split("-1.0")[0]
            content, metadata = self.server.wheels[name]
            if words[1].endswith(".metadata"):
                self.count(page=1)
                return self.answer(metadata, "text/plain")
            self.count(wheel=1)
            return self.answer(content, "application/zip")
        self.send_error(404)

    def do_HEAD(self):
        self.count(wheel=1)
        self.send_error(405)

    def count(self, wheel=0, page=0):
        with self.server.lock:
            self.server.wheel_requests += wheel
            self.server.page_requests += page

    def answer(self, content, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def push_parent(address):
    """Pushes the demo's parent."""
    layer, config = (DEMO / "parent.tar.gz").read_bytes(), (DEMO / "parent.json").read_bytes()
    blobs = push_blob(address, CONFIG, config), push_blob(address, LAYER, layer)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blobs[0], "layers": [blobs[1]]}
    ask("PUT", f"http://{address}/v2/source/image/manifests/1", json.dumps(manifest).encode(), **{"Content-Type": MANIFEST})
    return f"{address}/source/image:1"


def requirements(number):
    shared = [f"shared_{at}" for at in range(SHARED)]
    return [f"{name}==1.0" for name in shared + [f"own_{number}_{at}" for at in range(OWN)]]


class Bench:
    """A project, and the machine that builds it."""

    def __init__(self, options, work, stack):
        self.options, self.work, self.stack = options, work, stack
        self.stopwatch = Stopwatch(work / "log")
        names = {line.split("==")[0] for number in range(SETS) for line in requirements(number)}
        self.index = Index(sorted(names))
        stack.callback(self.index.shutdown)
        self.fresh = 0
        self.project = work / "project"
        for number in range(40):
            file = self.project / f"package_{number % 4}" / f"module_{number}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"NUMBER = {number}\n" * 50)
        self.start_registry()

    def start_registry(self):
        self.fresh += 1
        server, self.address = registry("embedded", self.options.binary, self.work / f"registry-{self.fresh}")
        self.stack.callback(server.stop)
        self.parent = push_parent(self.address)

    def write(self, name, docker, steps):
        """A run configuration; JSON is YAML too."""
        arguments = {"index-url": self.index.url}
        settings = {"parent_image": self.parent, "install_stack_requirements": False,
                    "python_package_installer_args": arguments, **docker}
        steps = {step: {"settings": {"docker": docker}} for step, docker in steps.items()}
        text = {"name": "bench", "settings": {"docker": settings}, "steps": steps,
                "lapstrake": {"registry": self.address}}
        (self.project / name).write_text(json.dumps(text))
        return self.project / name

    def build(self, config, store):
        state = {"LAPSTRAKE_STORE": str(self.work / store), "UV_CACHE_DIR": str(self.work / f"{store}-uv"),
                 "LAPSTRAKE_LEDGER": str(self.work / f"{store}-ledger.db")}
        said = self.work / "stdout"
        with said.open("w") as output:
            took = self.stopwatch.run([self.options.binary, "build", "--quiet", config], cwd=self.project,
                                      env={**os.environ, **state}, output=output)
        return took, len(said.read_text().split())

    def steps(self, own_variable):
        each = {}
        for step in range(self.options.steps):
            each[f"step_{step}"] = {"requirements": requirements(step % SETS)}
            if own_variable:
                each[f"step_{step}"]["environment"] = {"STEP": str(step)}
        return each

    def run(self):
        rows = []
        self.index.taken()
        took = 0
        for number in range(SETS):
            config = self.write(f"set-{number}.yaml", {"requirements": requirements(number), "image_tag": f"s{number}"}, {})
            took += self.build(config, "single")[0]
        alone, pages = self.index.taken()
        rows.append((f"one image of each of {SETS} sets, one after the other, fresh machine", took, SETS, alone, pages))
        for own, name in ((False, "equal settings in a set"), (True, "a variable of its own in each step")):
            def row(what, store, edited=False):
                if edited:
                    (self.project / "package_0" / "module_0.py").write_text(f"EDITED = {random.random()}\n")
                config = self.write("pipeline.yaml", {"requirements": requirements(0)}, self.steps(own))
                took, images = self.build(config, store)
                rows.append((f"{self.options.steps} steps, {name}: {what}", took, images, *self.index.taken()))
            self.start_registry()
            row("fresh machine, empty registry", f"fresh-{own}")
            self.start_registry()
            row("warm store, empty registry", f"fresh-{own}")
            row("nothing changed", f"fresh-{own}")
            row("one file edited", f"fresh-{own}", edited=True)
        return rows, alone


def report(rows, alone):
    lines = ["| work | seconds | images | requests for wheels | for pages and metadata |",
             "| --- | --- | --- | --- | --- |"]
    for what, took, images, wheels, pages in rows:
        ratio = f" (×{wheels / alone:.2f})" if alone and wheels else ""
        lines.append(f"| {what} | {took:.2f} | {images} | {wheels}{ratio} | {pages} |")
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target")
    parser.add_argument("--binary", type=Path, default=target / "release" / "lapstrake", help="lapstrake to measure")
    parser.add_argument("--steps", type=int, default=100)
    return parser.parse_args()


def main():
    options = arguments()
    if not options.binary.is_file():
        sys.exit(f"missing: {options.binary}")
    options.binary = options.binary.resolve()
    with workplace(CACHE / "bench", "pipeline") as (work, stack):
        print(report(*Bench(options, work, stack).run()))


if __name__ == "__main__":
    main()
