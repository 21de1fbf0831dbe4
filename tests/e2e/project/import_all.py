"""Imports every module that an installed distribution brings at its top, and prints how many."""

import importlib
import importlib.metadata
import importlib.util
import os
import sys

# Some packages take stdout for themselves, or end it, when they are imported.
OUTPUT = os.dup(1)

import setuptools  # takes the place of distutils, and must come before whoever asks for that

failed, absent, count = [], [], 0
for module, distributions in sorted(importlib.metadata.packages_distributions().items()):
    if not module.isidentifier() or module.startswith("_") or module.endswith("__mypyc"):
        continue
    if importlib.util.find_spec(module) is None:
        # Debian's packages name folders that they do not bring.
        absent.append(module)
        continue
    try:
        importlib.import_module(module)
        count += 1
    except Exception as error:
        failed.append(f"{module} of {distributions}: {error!r}")
if len(absent) > 2:
    failed.append(f"not there: {absent}")
os.write(OUTPUT, f"{count}\n".encode())
if failed:
    sys.exit("\n".join(failed))
