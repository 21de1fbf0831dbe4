"""Copies one image between two local registries with lapstrake, crane and skopeo in turn, and prints a Markdown table.

    cargo build --release && python3 benches/copying.py

The image has `--layers` layers of together `--size` MB that do not compress. Source and target are one server each,
Debian's docker-registry or `--registry embedded`; every copy goes to a repository that is new. Figures are medians of
`--runs` runs, in which the tools take turns at being first, with ratios to lapstrake. Needs crane, skopeo and GNU time.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import platform
import random
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

from table_parts import Stopwatch, median, registry, say, workplace

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lapstrake-ci"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer(number, size):
    """A gzipped tar with one file of noise, and the digest of the tar."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo(f"data/{number}")
        member.size = size
        tar.addfile(member, io.BytesIO(random.Random(number).randbytes(size)))
    packed = gzip.compress(plain.getvalue(), compresslevel=0, mtime=0)
    return packed, digest(plain.getvalue())


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def ask(method, url, body=b"", **headers):
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.headers


def push_blob(address, media_type, content):
    place = ask("POST", f"http://{address}/v2/source/image/blobs/uploads/")["Location"]
    place = place if place.startswith("http") else f"http://{address}{place}"
    joint = "&" if "?" in place else "?"
    kind = {"Content-Type": "application/octet-stream"}
    ask("PUT", f"{place}{joint}digest={digest(content)}", content, **kind)
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def push_image(address, layers, size):
    """Pushes the image as `source/image:1`; most of it is in a few large layers, as in real images."""
    weights = [1 / (number + 1) for number in range(layers)]
    pushed, diff_ids = [], []
    for number, weight in enumerate(weights):
        content, diff_id = layer(number, int(size * 1e6 * weight / sum(weights)))
        pushed.append(push_blob(address, LAYER, content))
        diff_ids.append(diff_id)
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    config = push_blob(address, CONFIG, config.encode())
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": pushed}
    kind = {"Content-Type": MANIFEST}
    ask("PUT", f"http://{address}/v2/source/image/manifests/1", json.dumps(manifest).encode(), **kind)


class Bench:
    """Two servers and the tools."""

    def __init__(self, options, work, stack):
        self.options, self.work = options, work
        self.stopwatch = Stopwatch(work / "log")
        servers = [registry(options.registry, options.binary, work / side) for side in ("from", "to")]
        for server, _ in servers:
            stack.callback(server.stop)
        (_, self.source), (_, self.target) = servers
        self.data = work / "to" / "data"
        store = {**os.environ, "LAPSTRAKE_STORE": str(work / "store")}
        self.tools = {
            "lapstrake": (lambda a, b: [options.binary, "copy", "--quiet", a, b], store),
            "crane": (lambda a, b: ["crane", "copy", "--insecure", a, b], None),
            "skopeo": (lambda a, b: ["skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false",
                                     "--dest-tls-verify=false", f"docker://{a}", f"docker://{b}"], None),
        }

    def copy(self, tool, target, peak=False):
        command, environment = self.tools[tool]
        words = command(f"{self.source}/source/image:1", f"{self.target}/{target}:1")
        run = self.stopwatch.peak if peak else self.stopwatch.run
        return run(words, env=environment)

    def fresh(self):
        """Empties the target, whose blobs are shared between its repositories; no tool waits for another one's writes."""
        shutil.rmtree(self.data, ignore_errors=True)
        os.sync()

    def run(self):
        push_image(self.source, self.options.layers, self.options.size)
        rows = {"whole image": {}, "all there already": {}, "peak memory (MiB)": {}}
        found = {row: {tool: [] for tool in self.tools} for row in rows}
        for number in range(self.options.runs):
            order = list(self.tools)
            first = number % len(order)
            for tool in order[first:] + order[:first]:
                self.fresh()
                target = f"{tool}/run{number}"
                found["whole image"][tool].append(self.copy(tool, target))
                found["all there already"][tool].append(self.copy(tool, target))
                self.fresh()
                found["peak memory (MiB)"][tool].append(self.copy(tool, f"{target}/peak", peak=True))
                say(f"{tool} {number + 1}: " + ", ".join(f"{row} {found[row][tool][-1]:.3f}" for row in rows))
        idle = [self.stopwatch.peak([self.options.binary, "--version"]) for _ in range(self.options.runs)]
        return found, median(idle)


def report(bench, found, idle):
    options = bench.options
    lines = [f"One image of {options.layers} layers and {options.size} MB, {options.registry} to {options.registry} on "
             f"loopback, medians of {options.runs}, {datetime.date.today()}, {os.cpu_count()} cores, "
             f"{platform.system()} {platform.machine()}; in brackets the ratio to lapstrake.", "",
             "| work | " + " | ".join(bench.tools) + " |", "| --- |" + " --- |" * len(bench.tools)]
    for row, tools in found.items():
        ours = median(tools["lapstrake"])
        unit = "" if "MiB" in row else " s"
        cells = [f"{median(runs):.3g}{unit}" + ("" if tool == "lapstrake" else f" (×{median(runs) / ours:.2f})")
                 for tool, runs in tools.items()]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", f"An idle lapstrake takes {idle:.1f} MiB."]
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target")
    parser.add_argument("--binary", type=Path, default=target / "release" / "lapstrake", help="lapstrake to measure")
    parser.add_argument("--registry", choices=["docker-registry", "embedded"], default="docker-registry")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--size", type=int, default=1000, help="MB of all layers")
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args()


def main():
    options = arguments()
    needed = ["crane", "skopeo"] + (["docker-registry"] if options.registry == "docker-registry" else [])
    missing = [name for name in needed if not shutil.which(name)]
    if missing or not options.binary.is_file():
        sys.exit(f"missing: {', '.join(missing) or options.binary}")
    with workplace(CACHE / "bench", "copy") as (work, stack):
        bench = Bench(options, work, stack)
        print(report(bench, *bench.run()))


if __name__ == "__main__":
    main()
