"""Imports every module that an installed distribution brings at its top, and prints how many."""

import importlib
import importlib.metadata
import sys

import setuptools  # takes the place of distutils, and must come before whoever asks for that

failed, count = [], 0
for module, distributions in sorted(importlib.metadata.packages_distributions().items()):
    if not module.isidentifier() or module.startswith("_") or module.endswith("__mypyc"):
        continue
    try:
        importlib.import_module(module)
        count += 1
    except Exception as error:
        failed.append(f"{module} of {distributions}: {error!r}")
print(count)
if failed:
    sys.exit("\n".join(failed))
