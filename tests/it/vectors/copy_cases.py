#!/usr/bin/env python3
"""Writes copy_cases.json: what BuildKit makes of COPY, ADD and WORKDIR.

Each case is a build context, an ignore file and the instructions of one or more stages that all begin FROM scratch;
the answer is the tree of the last stage as `buildctl --output type=tar` gives it: path, kind, mode, owner, link
target, SHA-256. Times are not part of it.

Run it against any buildkitd, as a user who may set all modes:

    BUILDKIT_HOST=unix:///run/buildkit/buildkitd.sock python3 copy_cases.py
"""

import base64
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

OUTPUT = pathlib.Path(__file__).with_name("copy_cases.json")
CASES = []
CONTEXTS = {}

# Contexts: path -> what is there.


def f(text="", mode=0o644):
    return {"file": text, "mode": mode}


def d(mode=0o755):
    return {"dir": True, "mode": mode}


def l(target):
    return {"link": target}


def same(path):
    return {"same": path}


def raw(data, mode=0o644):
    return {"bytes": base64.b64encode(data).decode(), "mode": mode}


def member(name, kind=tarfile.REGTYPE, text="", mode=0o644, uid=0, gid=0, link=""):
    return (name, kind, text, mode, uid, gid, link)


def tar(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, text, mode, uid, gid, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.linkname = kind, mode, uid, gid, link
            info.mtime = 1_000_000_000
            info.size = len(text) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(text.encode()))
    data = out.getvalue().rstrip(b"\0")
    return data + bytes(-len(data) % 512 + 1024)


def zstd(data):
    """One frame of raw blocks."""
    out = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little")
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    for at, piece in enumerate(pieces):
        out += ((len(piece) << 3) | (at == len(pieces) - 1)).to_bytes(3, "little") + piece
    return out


# Instructions.


def copy(*sources, to, **options):
    return {"op": "copy", "sources": list(sources), "to": to, **options}


def add(*sources, to, **options):
    return {"op": "add", "sources": list(sources), "to": to, **options}


def text(*documents, to, **options):
    documents = [{"name": name, "content": content} for name, content in documents]
    return {"op": "copy", "sources": [], "documents": documents, "to": to, **options}


def workdir(path):
    return {"op": "workdir", "path": path}


def user(name):
    return {"op": "user", "name": name}


def stage(name=None):
    return {"op": "from", "name": name}


def case(name, *steps, context="base", ignore=""):
    CASES.append({"name": name, "context": context, "ignore": ignore, "steps": list(steps)})


CONTEXTS["base"] = {
    ".hidden": f("hidden\n"),
    "a.txt": f("a\n"),
    "abs": l("/a.txt"),
    "b.txt": f("b\n", 0o600),
    "dangling": l("nowhere"),
    "dir": d(0o750),
    "dir/link": l("one.txt"),
    "dir/lost": l("/nowhere"),
    "dir/one.txt": f("one\n", 0o640),
    "dir/sub": d(0o700),
    "dir/sub/deep.txt": f("deep\n", 0o444),
    "dir/two.py": f("two\n", 0o755),
    "empty": d(0o711),
    "etc": d(),
    "etc/group": f("root:x:0:\napp:x:50:\nstaff:x:60:app\n"),
    "etc/passwd": f("root:x:0:0::/:\napp:x:1000:50::/home/app:\n"),
    "link.txt": l("a.txt"),
    "linkdir": l("dir"),
    "loop": l("loop"),
    "other": d(0o705),
    "other/one.txt": f("other one\n", 0o604),
    "other/three.txt": f("three\n", 0o755),
    "run.sh": f("run\n", 0o755),
    "up": l("../../a.txt"),
}

LEADS_NOWHERE = ["dangling", "dir/lost", "loop", "up"]
CONTEXTS["whole"] = {path: what for path, what in CONTEXTS["base"].items() if path not in LEADS_NOWHERE}
CONTEXTS["empty"] = {}
CONTEXTS["alone"] = {"a": f("a")}

# Names of destinations.
for to in ["/x", "/x/", "x", "./x", ".", "./", "/", "", "/.", "/x/.", "/x/y/..", "//x", "/x//y/", "/x/y/z", "/x/./y"]:
    case(f"file to {to!r}", copy("a.txt", to=to))
for to in [".", "./", "sub", "sub/", "../x", "/", ""]:
    case(f"file to {to!r} below a working directory", workdir("/w/v"), copy("a.txt", to=to))
for to in ["/d", "/d/", "/d/.", "/d/new", "/d/one.txt"]:
    case(f"file to {to!r} where /d is a directory", copy("dir", to="/d"), copy("a.txt", to=to))
for source in ["dir", "dir/", "dir/.", "./dir", "/dir", "dir//", "../dir", "dir/sub/..", "dir/sub"]:
    case(f"directory {source!r}", copy(source, to="/x"))
for to in ["/x/", "/x/y", "/", ".", "x/."]:
    case(f"directory to {to!r}", copy("dir", to=to))
for source in [".", "./", "/", "./.", ".."]:
    case(f"the context as {source!r}", copy(source, to="/app"))
case("the context to the root", copy(".", to="/"))
case("an empty directory", copy("empty", to="/x"))
case("an empty directory into another", copy("empty", to="/x/"), copy("empty", to="/x/y"))
case("an empty context", copy(".", to="/x"), context="empty")

# Several sources.
case("two files", copy("a.txt", "b.txt", to="/x/"))
case("a file and directories", copy("a.txt", "dir", "other", to="/x/"))
case("the later source wins", copy("other", "dir", to="/x/"))
case("the same file twice", copy("a.txt", "./a.txt", to="/x/"))
case("one source of two is missing", copy("a.txt", "nothing", to="/x/"))
case("a missing source", copy("nothing", to="/x"))
case("a missing source below a file", copy("a.txt/b", to="/x"))
case("a file with a trailing slash", copy("a.txt/", to="/x"))

# What is there already.
case("a directory over a directory keeps the upper mode", copy("dir", to="/x"), copy("other", to="/x"))
CONTEXTS["tree"] = {
    "one": d(0o711),
    "one/deep": d(0o722),
    "one/deep/a": f("1"),
    "one/name": f("a file"),
    "one/rest": d(0o733),
    "two": d(0o766),
    "two/deep": d(0o777),
    "two/deep/b": f("2"),
    "three": d(),
    "three/name": d(0o701),
    "three/name/x": f("x"),
    "four": d(),
    "four/name": l("deep"),
    "five": d(),
    "five/deep": l("/elsewhere"),
    "six": d(),
    "six/name": f("another file", 0o600),
}
case("a directory below takes the mode of the new one", copy("one", to="/x"), copy("two", to="/x"), context="tree")
case("a directory over a file", copy("one", to="/x"), copy("three", to="/x"), context="tree")
case("a file over a directory", copy("three", to="/x"), copy("one", to="/x"), context="tree")
case("a link over a file", copy("one", to="/x"), copy("four", to="/x"), context="tree")
case("a file over a link", copy("four", to="/x"), copy("one", to="/x"), context="tree")
case("a link over a directory", copy("one", to="/x"), copy("five", to="/x"), context="tree")
case("a directory over a link", copy("five", to="/x"), copy("one", to="/x"), context="tree")
case("a file over a file", copy("one", to="/x"), copy("six", to="/x"), context="tree")
case("a directory to a path that is a file", copy("a.txt", to="/x"), copy("dir", to="/x"))
case("a file below a path that is a file", copy("a.txt", to="/x"), copy("b.txt", to="/x/y"))
case("a file into a path that is a file", copy("a.txt", to="/x"), copy("b.txt", to="/x/"))
case("a file over a file by name", copy("a.txt", to="/x"), copy("b.txt", to="/x"))

# Links of the image.
CONTEXTS["links"] = {
    "base": d(),
    "base/bin": l("usr/bin"),
    "base/far": l("/opt/far/away"),
    "base/file": l("usr/bin/tool"),
    "base/lost": l("gone/path"),
    "base/round": l("round"),
    "base/usr": d(0o751),
    "base/usr/bin": d(0o753),
    "base/usr/bin/tool": f("tool", 0o755),
    "base/usr/local": l("../../../etc"),
    "new": d(0o700),
    "new/added": f("added"),
    "root": d(),
    "root/bin": d(),
    "root/bin/more": f("more"),
    "t": f("t", 0o600),
}
for to in ["/bin/", "/bin", "/bin/t", "/far/", "/far", "/far/t", "/file", "/lost", "/lost/", "/lost/t", "/round", "/usr/local/", "/usr/local/t"]:
    case(f"a file to {to!r} through a link of the image", copy("base", to="/"), copy("t", to=to), context="links")
for to in ["/bin", "/bin/", "/far", "/lost", "/file"]:
    case(f"a directory to {to!r} through a link of the image", copy("base", to="/"), copy("new", to=to), context="links")
case("a directory over a link of the root", copy("base", to="/"), copy("root", to="/"), context="links")

# Wildcards.
for source in ["*.txt", "?.txt", "[ab].txt", "[^b].txt", "d*", "*", "dir/*", "*/one.txt", "dir/s*", "d*/", "*/*", "no*", "link*", "l*/one.txt",
               "linkdir/*", "a.txt*", "**/one.txt", "**", "dir/**", "a\\.txt", "dir/*.py", ".h*", "*/sub", "d?r/sub/*", "[", "a[", "nothing/*", "a.txt/*", "./*.py", "../*.txt"]:
    case(f"wildcard {source!r} into a directory", copy(source, to="/x/"), context="whole")
case("a wildcard of two files to a name", copy("[ab].txt", to="/x"))
case("a wildcard of one file to a name", copy("a*.txt", to="/x"))
case("a wildcard of directories to a name", copy("[do]*r", to="/x"))
case("a wildcard that matches a link to nowhere", copy("d*", to="/x/"))
case("a wildcard that matches a loop", copy("l*", to="/x/"))
CONTEXTS["odd"] = {"[x].txt": f("x"), "a*b": f("star"), "sp ace": f("space"), "back\\slash": f("back"), "\u00fc": f("u"), "-dash": f("dash"), "#hash": f("hash")}
for source in ["[[]x].txt", "\\[x].txt", "[x].txt", "a\\*b", "a*b", "sp ace", "back\\\\slash", "\u00fc", "?", "-dash", "#hash"]:
    case(f"name {source!r}", copy(source, to="/x/"), context="odd")

# Links of the context.
for source in ["link.txt", "abs", "dangling", "up", "loop", "linkdir", "linkdir/", "linkdir/one.txt", "linkdir/link", "dir/link", "dir/lost", "linkdir/sub"]:
    case(f"link {source!r} into a directory", copy(source, to="/x/"))
for source in ["link.txt", "linkdir"]:
    case(f"link {source!r} to a name", copy(source, to="/x"))
CONTEXTS["climb"] = {"out": l("../out/file"), "file": f("file"), "chain1": l("chain2"), "chain2": l("chain3"), "chain3": l("file"), "d": d(), "d/up": l("../file"), "d/here": l("."), "d/root": l("/d/deep"), "d/deep": d(0o700), "d/deep/x": f("x")}
for source in ["out", "chain1", "d/up", "d", "d/here", "d/root", "d/root/x", "d/here/deep/x"]:
    case(f"link {source!r} of another shape", copy(source, to="/x/"), context="climb")
case("a link to what is ignored", copy("link.txt", to="/x/"), ignore="a.txt\n")

# Owners.
CONTEXTS["lines"] = {"etc": d(), "etc/passwd": f("# app:x:1:1::/:\n\nbroken\napp:x:12:34::/:\napp:x:9:9::/:\n"), "t": f("t")}
CONTEXTS["behind"] = {"real": d(), "real/passwd": f("app:x:77:88::/:\n"), "l": d(), "l/etc": l("/real"), "t": f("t")}
for owner in ["1000", "1000:50", "1000:", ":50", "app", "app:staff", "app:60", "1000:staff", "nobody", "app:nothing", "root", "root:app", "0:app", "-1", "4294967295", "a:b:c", "01", "+5", ""]:
    case(f"owner {owner!r}", copy("etc", to="/etc"), copy("dir", to="/new/x", chown=owner))
case("a name without any passwd", copy("a.txt", to="/n/x", chown="app:app"))
case("owner of what is merged", copy("dir", to="/d"), copy("other", to="/d", chown="7:8"))
case("owner of links and files", copy("dir/link", "a.txt", "link.txt", to="/new/", chown="5:6"))
case("owner by a passwd behind a link", copy("real", to="/real"), copy("l", to="/"), copy("t", to="/t", chown="app"), context="behind")
case("a passwd of odd lines", copy("etc", to="/etc"), copy("t", to="/t", chown="app"), context="lines")

# Modes.
for mode in ["600", "0755", "4755", "2755", "1777", "0", "7777", "10000", "8", "u+x", "go-rwx", "a=rX", "u=rwX,go=rX", "g=u", "+x", "-w", "=r", "u+s", "+t", "o=g-r", "ug+rw,o=", "go=u-w",
             "a+X", "x", "u+", "u+z", "rwx", "u=rw,", "=", "o+s", "g+s", "u=g=o", "644,u+x", ""]:
    case(f"mode {mode!r}", copy("dir", to="/new/x", chmod=mode))
case("mode of files and links", copy("a.txt", "run.sh", "link.txt", to="/x/", chmod="640"))
case("mode of what is merged", copy("dir", to="/d"), copy("other", to="/d", chmod="711"))
case("mode and owner", copy("a.txt", to="/n/m/x", chmod="4750", chown="3:4"))
case("symbolic mode of a file", copy("run.sh", "b.txt", to="/n/m/", chmod="g+X,o=u"))
CONTEXTS["special"] = {"d": d(0o1777), "d/g": d(0o2755), "d/g/x": f("x", 0o4755), "d/n": f("n", 0), "d/w": f("w", 0o666), "s": f("s", 0o6711)}
case("modes of all kinds", copy("d", "s", to="/x/"), context="special")
case("modes of all kinds with an owner", copy("d", "s", to="/x/", chown="9"), context="special")
case("modes of all kinds in the whole context", copy(".", to="/x/"), context="special")
case("modes of all kinds, changed", copy("d", "s", to="/x/", chmod="u+r"), context="special")

# --link.
case("linked file", copy("a.txt", to="/x/y", link=True))
case("linked over a link of the image", copy("base", to="/"), copy("t", to="/bin/t", link=True), context="links")
case("linked into an existing directory by name", copy("dir", to="/d"), copy("a.txt", to="/d", link=True))
case("linked directory over a directory", copy("dir", to="/d"), copy("other", to="/d", link=True))
case("linked directory below", copy("one", to="/x"), copy("two", to="/x", link=True), context="tree")
case("linked with owner and mode", copy("dir", to="/d/e"), copy("other", to="/d/e", link=True, chown="1:2"))
case("linked with a mode", copy("dir", to="/d/e"), copy("other", to="/d/e", link=True, chmod="700"))
case("linked with a name as owner", copy("etc", to="/etc"), copy("other", to="/d/e", link=True, chown="app"))
case("linked directory over a file", copy("one", to="/x"), copy("three", to="/x", link=True), context="tree")
case("linked file over a directory", copy("three", to="/x"), copy("one", to="/x", link=True), context="tree")
case("linked below a working directory", workdir("/w"), copy("a.txt", to="sub/", link=True))
case("linked into a directory with a mode of its own", copy("empty", to="/e/"), copy("dir", to="/e/f"), copy("a.txt", to="/e/f/sub/a", link=True))

# Here-documents.
case("a document to a name", text(("EOF", "hello\n"), to="/x"))
case("a document into a directory", text(("conf", "a=1\n"), to="/x/"))
case("two documents", text(("one", "1\n"), ("two", "2\n"), to="/x/"))
case("a document with mode and owner", text(("one", "1\n"), to="/n/x", chmod="755", chown="4:5"))
case("a document over a directory", copy("dir", to="/d"), text(("one", "1\n"), to="/d"))
case("a document over a link", copy("base", to="/"), text(("one", "1\n"), to="/file"), context="links")
case("a document and a file", {**copy("a.txt", to="/x/"), "documents": [{"name": "doc", "content": "d\n"}]})
case("an empty document", text(("none", ""), to="/x/"))

# --exclude.
for patterns in [["*.txt"], ["**/*.txt"], ["sub"], ["*"], ["**"], ["sub/deep.txt"], ["*", "!two.py"], ["sub", "!sub/deep.txt"], ["**/deep.txt"], ["/one.txt"], ["./one.txt"], ["dir/one.txt"], ["one.txt", "two.py"], ["s*"], ["l*"], ["!one.txt"], ["["], ["one.txt/"], [""]]:
    case(f"a directory without {patterns}", copy("dir", to="/x", exclude=patterns))
case("the context without", copy(".", to="/x", exclude=["*.txt", "dir/sub", "l*"]), context="whole")
case("the context with links to nowhere, without", copy(".", to="/x", exclude=["*.txt"]))
case("files without", copy("a.txt", "b.txt", to="/x/", exclude=["a.txt"]))
case("a wildcard without", copy("*.txt", to="/x/", exclude=["a.txt"]))
case("a wildcard of directories without", copy("*", to="/x/", exclude=["one.txt"]), context="whole")
case("excluded directory that exists", copy("other", to="/x/sub"), copy("dir", to="/x", exclude=["sub"]))
case("excluded but for one below, with the directory's mode", copy("dir", to="/x", exclude=["sub", "!sub/deep.txt"], chown="3"))

# --parents.
for source in ["a.txt", "dir/one.txt", "dir/sub", "dir", "dir/", "./dir/one.txt", "dir/./one.txt", "dir/./sub/deep.txt", "./dir/./sub", "dir/*.txt", "dir/*", "*/one.txt", "**/*.txt", "dir/**/deep.txt", "d*/./*.py",
               "*/./one.txt", "linkdir/one.txt", "linkdir/./one.txt", "linkdir", "nothing", "nothing/x", "no*/x", "dir/./nothing", "dir/link", "link.txt", "/dir/one.txt", "dir/sub/", "**", ".", "./a.txt", "dir/sub/../one.txt", "dir/.", "dir/././sub/deep.txt", "../a.txt"]:
    case(f"with parents {source!r}", copy(source, to="/x/", parents=True), context="whole")
case("with parents everything, with links to nowhere", copy("**", to="/x/", parents=True))
case("with parents to a name", copy("dir/one.txt", to="/x", parents=True))
case("with parents and several sources", copy("dir/one.txt", "other/one.txt", "a.txt", to="/x/", parents=True))
case("with parents, owner and mode", copy("dir/sub/deep.txt", to="/x/y/", parents=True, chown="1:2", chmod="u+w"))
case("with parents and octal mode", copy("dir/sub/deep.txt", to="/x/y/", parents=True, chmod="700"))
case("with parents and without", copy("dir", to="/x/", parents=True, exclude=["dir/sub"]))
case("with parents and without everywhere", copy("**/*.txt", to="/x/", parents=True, exclude=["**/deep.txt"]))
case("with parents into an existing directory", copy("other", to="/x/dir"), copy("dir/one.txt", to="/x/", parents=True))
case("with parents in a working directory", workdir("/w"), copy("dir/one.txt", to=".", parents=True))

# Ignore files.
case("an ignored file", copy("a.txt", to="/x"), ignore="a.txt\n")
case("an ignored directory", copy("dir", to="/x"), ignore="dir\n")
case("a directory of which a part is ignored", copy("dir", to="/x"), ignore="**/*.py\ndir/sub\n")
case("a directory of which all is ignored", copy("dir", to="/x"), ignore="dir/*\n")
case("an ignored directory with an exception", copy("dir", to="/x"), ignore="dir\n!dir/sub\n")
case("an ignored directory with an exception, from above", copy(".", to="/x"), ignore="*\n!dir/sub/deep.txt\n")
case("ignored with a wildcard", copy("[ab].txt", to="/x/"), ignore="a.txt\n")
case("everything ignored", copy(".", to="/x"), ignore="*\n")
case("the ignore file and the Dockerfile", copy(".", to="/x"), ignore="# none\n", context="alone")

# Working directories.
for path in ["/a/b", "a", "/", "/a/", "/a/../b", "./a/./b", "/etc", "."]:
    case(f"working directory {path!r}", copy("etc", to="/etc"), workdir(path))
case("a working directory below another", workdir("/a"), workdir("b"), workdir("../c"), copy("a.txt", to="."))
for name in ["1000", "1000:60", "app", "app:staff", "nobody", "app:", "root", "0"]:
    case(f"working directory of {name!r}", copy("etc", to="/etc"), user(name), workdir("/a/b"), copy("a.txt", to="."))
case("a working directory through a link", copy("base", to="/"), workdir("/bin/deep"), workdir("/far/x"), workdir("/lost"), context="links")
case("a working directory that is a file", copy("a.txt", to="/f"), workdir("/f"))
case("a working directory below a file", copy("a.txt", to="/f"), workdir("/f/g"))
case("a working directory that exists", copy("dir", to="/d"), user("5"), workdir("/d"), workdir("/d/sub"))

# ADD.
plain = tar(
    member("./", tarfile.DIRTYPE, mode=0o700),
    member("./bin/", tarfile.DIRTYPE, mode=0o711, uid=3, gid=4),
    member("./bin/tool", text="tool\n", mode=0o4755, uid=1, gid=2),
    member("./bin/link", tarfile.SYMTYPE, link="tool"),
    member("./bin/same", tarfile.LNKTYPE, link="./bin/tool"),
    member("deep/er/file", text="deep\n", mode=0o600),
    member("twice", text="first\n"),
    member("twice", text="second\n", mode=0o640),
    member("/rooted", text="rooted\n"),
)
inner = tar(member("x", text="x\n"))
CONTEXTS["archives"] = {
    "all.tar": raw(plain),
    "all.tar.bz2": raw(bz2.compress(plain)),
    "all.tar.gz": raw(gzip.compress(plain, mtime=0)),
    "all.tar.xz": raw(lzma.compress(plain)),
    "all.tar.zst": raw(zstd(plain)),
    "bad.tar": f("this is no archive\n"),
    "cut.tar.gz": raw(gzip.compress(plain, mtime=0)[:60]),
    "cut.tar": raw(plain[:700]),
    "dirs": d(),
    "dirs/x.tar": raw(inner),
    "empty.tar": raw(tar()),
    "link": l("all.tar"),
    "none": f(""),
    "over.tar": raw(tar(member("bin", text="a file\n"), member("deep/", tarfile.DIRTYPE, mode=0o722), member("deep/er", tarfile.SYMTYPE, link="../bin"), member("twice/", tarfile.DIRTYPE))),
    "text.gz": raw(gzip.compress(b"no tar\n" * 200, mtime=0)),
    "within.tar": raw(tar(member("l", tarfile.SYMTYPE, link="real"), member("real/", tarfile.DIRTYPE), member("l/x", text="x\n"))),
    "climbs.tar": raw(tar(member("../out", text="out\n"))),
    "outward.tar": raw(tar(member("l", tarfile.SYMTYPE, link="/etc"), member("m", tarfile.SYMTYPE, link="../../../etc"))),
    "wh.tar": raw(tar(member(".wh.rooted", text=""), member("a/.wh..wh..opq", text=""))),
    "hard.tar": raw(tar(member("h", tarfile.LNKTYPE, link="absent"))),
    "later.tar": raw(tar(member("a", text="a\n"), member("b", tarfile.LNKTYPE, link="a"), member("a", text="anew\n"))),
    "fifo.tar": raw(tar(member("p", tarfile.FIFOTYPE))),
    "x.tar": raw(inner),
}
CONTEXTS["links, archive"] = {**CONTEXTS["links"], "x.tar": raw(inner)}
CONTEXTS["links, archive over"] = {**CONTEXTS["links"], "x.tar": raw(tar(member("bin/", tarfile.DIRTYPE), member("bin/y", text="y"), member("usr/bin/z", text="z")))}
CONTEXTS["links, archive below"] = {**CONTEXTS["links"], "x.tar": raw(tar(member("bin/y", text="y"), member("usr/local/z", text="z")))}
for name in ["all.tar", "all.tar.gz", "all.tar.bz2", "all.tar.xz", "all.tar.zst", "bad.tar", "cut.tar.gz", "cut.tar", "empty.tar", "link", "none", "text.gz", "within.tar", "climbs.tar", "outward.tar", "wh.tar", "hard.tar", "later.tar", "fifo.tar", "dirs", "*.zst", "dirs/*", "all.tar?bz2"]:
    case(f"add {name!r}", add(name, to="/x/"), context="archives")
for to in ["/x", "/", "rel", "/x/.", "/n/m"]:
    case(f"add to {to!r}", add("all.tar", to=to), context="archives")
case("add with an owner", add("all.tar", to="/n/x", chown="5:6"), context="archives")
case("add with a mode", add("all.tar", to="/n/x", chmod="600"), context="archives")
case("add with a symbolic mode", add("all.tar", "bad.tar", to="/n/x/", chmod="g+w"), context="archives")
case("add without unpacking", add("all.tar.gz", to="/x/", unpack=False), context="archives")
case("add with unpacking", add("all.tar.gz", "bad.tar", to="/x/", unpack=True), context="archives")
case("add over what is there", add("all.tar", to="/x"), add("over.tar", to="/x"), context="archives")
case("add over what an archive put there", add("over.tar", to="/x"), add("all.tar", to="/x"), context="archives")
case("add to a file", copy("bad.tar", to="/x"), add("all.tar", to="/x"), context="archives")
case("add two archives and a file", add("all.tar", "x.tar", "bad.tar", to="/x/"), context="archives")
case("add with exclusion", add("all.tar", to="/x/", exclude=["bin"]), context="archives")
case("add linked", copy("dirs", to="/x"), add("x.tar", to="/x", link=True), context="archives")
case("add through a link of the image", copy("base", to="/"), add("x.tar", to="/bin"), context="links, archive")
case("add over a link of the image", copy("base", to="/"), add("x.tar", to="/"), context="links, archive over")
case("add below a link of the image", copy("base", to="/"), add("x.tar", to="/"), context="links, archive below")
case("add a directory", add("dir", to="/x"))
case("add a plain file", add("a.txt", to="/x/"))
case("copy an archive", copy("all.tar", to="/x/"), context="archives")

# COPY --from.
CONTEXTS["second passwd"] = {**CONTEXTS["base"], "real": d(), "real/passwd": f("app:x:31:32::/:\n")}
house = [stage("b"), copy("etc", to="/etc"), copy("dir", to="/src", chown="7:8"), copy("other", to="/src/o", chown="app", chmod="2711"), copy("link.txt", "a.txt", to="/"), workdir("/made/here")]
for source, to in [("/src", "/x"), ("src", "/x/"), ("src/one.txt", "/x/"), ("/src/link", "/x/"), ("/src/*.txt", "/x/"), ("/", "/x"), (".", "/x"), ("/src/o", "/x/o/p"), ("/src/.", "/"), ("/nothing", "/x"), ("/src/sub/", "/x/y/"), ("/src/*", "/x/"), ("/made", "/x")]:
    case(f"from a stage {source!r} to {to!r}", *house, stage(), copy(source, to=to, **{"from": "b"}))
case("from a stage with owner", *house, stage(), copy("/src", to="/x/y", chown="1", **{"from": "b"}))
case("from a stage with a name of this stage", *house, stage(), copy("real", to="/etc"), copy("/src", to="/x/y", chown="app", **{"from": "b"}), context="second passwd")
case("from a stage with mode", *house, stage(), copy("/src", to="/x/y", chmod="u=rwX,go=", **{"from": "b"}))
case("from a stage without", *house, stage(), copy("/src", to="/x", exclude=["**/*.txt"], **{"from": "b"}))
case("from a stage with parents", *house, stage(), copy("/src/sub/deep.txt", to="/x/", parents=True, **{"from": "b"}))
case("from a stage with parents and pivot", *house, stage(), copy("/src/./sub/*.txt", to="/x/", parents=True, **{"from": "b"}))
case("from a stage, linked", *house, stage(), copy("other", to="/x"), copy("/src", to="/x", link=True, **{"from": "b"}))
case("from a stage over what is there", *house, stage(), copy("other", to="/x"), copy("/src", to="/x", **{"from": "b"}))
case("from a stage with links", stage("b"), copy("base", to="/"), stage(), copy("/bin", to="/x/", **{"from": "b"}), copy("/bin/tool", to="/y", **{"from": "b"}), copy("/file", to="/z/", **{"from": "b"}), context="links")
case("from a stage through a link that is missing", stage("b"), copy("base", to="/"), stage(), copy("/lost", to="/x/", **{"from": "b"}), context="links")
case("from a stage by an absolute link", stage("b"), copy("base", to="/"), copy("new", to="/opt/far/away"), stage(), copy("/far", to="/x", **{"from": "b"}), copy("/far/a*", to="/y/", **{"from": "b"}), context="links")
case("from a stage of archives", stage("b"), add("all.tar", to="/a"), stage(), copy("/a", to="/x", **{"from": "b"}), context="archives")
case("from a stage of archives by wildcard", stage("b"), add("all.tar", to="/a"), stage(), copy("/a/bin/*", to="/x/", **{"from": "b"}), context="archives")
case("from a stage of archives, one name of two", stage("b"), add("all.tar", to="/a"), stage(), copy("/a/bin/same", to="/x/", **{"from": "b"}), context="archives")
case("from a stage that was copied from a stage", *house, stage("c"), copy("/src", to="/mid", **{"from": "b"}), stage(), copy("/mid", to="/x", **{"from": "c"}))
case("add in one stage, copied to another", stage("b"), add("all.tar.gz", to="/a", chown="9:9"), stage(), copy("/a/bin", to="/usr/bin", **{"from": "b"}), context="archives")

# Hard links of the context.
CONTEXTS["twins"] = {"d": d(), "d/a": f("twin"), "d/b": same("d/a"), "d/e": d(), "d/e/c": same("d/a"), "top": same("d/a")}
for sources in [["d"], ["."], ["d/*"], ["d/a", "d/b"], ["d/e", "d/b"], ["top"]]:
    case(f"hard links by {sources}", copy(*sources, to="/x/"), context="twins")
case("hard links with an owner and a mode", copy("d", to="/x/", chown="3:4", chmod="600"), context="twins")

# Long and many.
deep = "/".join(["deep"] * 30)
CONTEXTS["deep"] = {**{"/".join(["deep"] * n): d() for n in range(1, 31)}, deep + "/f": f("f")}
CONTEXTS["long"] = {"n" * 200: f("long")}
case("a deep path", copy("deep", to="/x"), context="deep")
case("a long name", copy(".", to="/x"), context="long")


def make(folder, context):
    for path, what in sorted(context.items()):
        at = folder / path
        at.parent.mkdir(parents=True, exist_ok=True)
        if "dir" in what:
            at.mkdir(exist_ok=True)
        elif "link" in what:
            at.symlink_to(what["link"])
        elif "same" in what:
            os.link(folder / what["same"], at)
        else:
            at.write_bytes(base64.b64decode(what["bytes"]) if "bytes" in what else what["file"].encode())
    for path, what in sorted(context.items(), reverse=True):
        if "mode" in what:
            (folder / path).chmod(what["mode"])


def instruction(step):
    op = step["op"]
    if op == "from":
        return "FROM scratch" + (f" AS {step['name']}" if step["name"] else "")
    if op == "workdir":
        return f"WORKDIR {step['path']}"
    if op == "user":
        return f"USER {step['name']}"
    words = [op.upper()]
    for name in ["from", "chown", "chmod"]:
        if name in step:
            words.append(f'--{name}={step[name]}' if step[name] else f'--{name}=""')
    words += [f"--{name}" for name in ["link", "parents"] if step.get(name)]
    words += [f"--exclude={pattern}" if pattern else '--exclude=""' for pattern in step.get("exclude", [])]
    if "unpack" in step:
        words.append(f"--unpack={str(step['unpack']).lower()}")
    documents = step.get("documents", [])
    if documents:
        words += step["sources"] + [f"<<{document['name']}" for document in documents] + [step["to"]]
        return "\n".join([" ".join(words)] + [document["content"] + document["name"] for document in documents])
    words.append(json.dumps(step["sources"] + [step["to"]], ensure_ascii=False))
    return " ".join(words)


def dockerfile(steps):
    steps = steps if steps[0]["op"] == "from" else [stage(), *steps]
    return "# escape=`\n" + "\n".join(instruction(step) for step in steps) + "\n"


def tree_of(archive):
    """A line an entry: kind, mode, owner, path, and the link's target or the first digits of the SHA-256."""
    kinds = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "same", tarfile.FIFOTYPE: "fifo"}
    found = {}
    with open(archive, "rb") as file:
        for member in tarfile.open(archive):
            line = f"{kinds[member.type]} {member.mode & 0o7777:o} {member.uid}:{member.gid} {member.name}"
            if member.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                line += f" -> {member.linkname}"
            if member.type == tarfile.REGTYPE:
                file.seek(member.offset_data)
                line += f" = {hashlib.sha256(file.read(member.size)).hexdigest()[:12]}"
            found[member.name] = line
    return [found[name] for name in sorted(found, key=str.encode)]


def ask(case):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        context, recipe = folder / "context", folder / "recipe"
        context.mkdir(mode=0o755)
        recipe.mkdir()
        make(context, CONTEXTS[case["context"]])
        if case["ignore"]:
            (context / ".dockerignore").write_text(case["ignore"])
            (context / ".dockerignore").chmod(0o644)
        (recipe / "Dockerfile").write_text(dockerfile(case["steps"]))
        command = ["buildctl", "build", "--frontend", "dockerfile.v0", "--local", f"context={context}", "--local", f"dockerfile={recipe}",
                   "--output", f"type=tar,dest={folder / 'tree.tar'}", "--progress", "plain"]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode == 0:
            return {"tree": tree_of(folder / "tree.tar")}
        said = [line for line in ran.stderr.splitlines() if line.startswith("error:")] or ran.stderr.splitlines()[-1:]
        said = re.sub(r"ref [a-z0-9]+::[a-z0-9]+", "the source", said[-1])
        said = re.sub(r"/\S*/cachemounts/buildkit\d+", "", said)
        return {"error": re.sub(r"^error: failed to solve: ", "", said)}


def main():
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    os.umask(0)
    wanted = sys.argv[1:]
    version = subprocess.run(["buildctl", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    for case in CASES:
        if not wanted or any(word in case["name"] for word in wanted):
            case.update(ask(case))
            case["dockerfile"] = dockerfile(case["steps"])
            if wanted:
                print(case["name"], case["dockerfile"], case.get("error"), *case.get("tree", []), "", sep="\n")
    if not wanted:
        contexts = ",\n".join(f"{json.dumps(name)}: {json.dumps(what, ensure_ascii=False)}" for name, what in CONTEXTS.items())
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in CASES)
        OUTPUT.write_text(f'{{"buildkit": "{version}", "contexts": {{\n{contexts}\n}}, "cases": [\n{lines}\n]}}\n')
        print(f"{len(CASES)} cases, {sum('error' in case for case in CASES)} of them refused")


if __name__ == "__main__":
    main()
