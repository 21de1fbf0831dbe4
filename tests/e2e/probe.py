"""Says what a container sees of itself, as one JSON object; the arguments are modules to import."""

import importlib
import json
import os
import shutil
import stat
import subprocess
import sys


def listed(root):
    """Path below `root` to owner, group and mode of everything there; `.` is the folder itself."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [".", *folders, *files] if folder == root else [*folders, *files]:
            path = os.path.join(folder, name)
            known = os.lstat(path)
            found[os.path.relpath(path, root)] = [known.st_uid, known.st_gid, stat.S_IMODE(known.st_mode)]
    return found


def packages():
    """Names and versions, as pip lists them."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"]
    said = subprocess.run(pip, stdout=subprocess.PIPE, check=True).stdout
    return {package["name"]: package["version"] for package in json.loads(said)}


def writes(folder):
    """Whether this user may make a file in `folder`."""
    try:
        with open(os.path.join(folder, "made-by-the-probe"), "x") as file:
            os.unlink(file.name)
        return True
    except OSError:
        return False


wanted = sys.argv[1:]
print(
    json.dumps(
        {
            "user": f"{os.getuid()}:{os.getgid()}",
            "folder": os.getcwd(),
            "environment": dict(os.environ),
            "packages": packages(),
            "modules": {name: importlib.import_module(name).__name__ for name in wanted if not name.startswith("/")},
            "programs": {path: bool(shutil.which(path[1:])) for path in wanted if path.startswith("/")},
            "files": listed("/app") if os.path.isdir("/app") else None,
            "writes": writes("/app"),
        }
    )
)
