"""Files and folders that are not code by their name, as patterns of .gitignore: they are passed over and counted.

A `.c2llmignore` takes one back in: `!data.csv`.
"""

from __future__ import annotations

from .gitignore import Patterns

_BY_REASON = {
    "lock file": (
        "package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb deno.lock Cargo.lock "
        "poetry.lock uv.lock pdm.lock Pipfile.lock pixi.lock conda-lock.yml composer.lock Gemfile.lock Podfile.lock "
        "pubspec.lock mix.lock flake.lock go.sum go.work.sum gradle.lockfile packages.lock.json Package.resolved "
        "cabal.project.freeze stack.yaml.lock"
    ),
    "data": ("*.csv *.tsv *.jsonl *.ndjson *.geojson *.topojson *.har *.svg *.po *.pot *.xlf *.arff *.libsvm *.snap"),
    "minified": "*.min.js *.min.mjs *.min.cjs *.min.css *.bundle.js *.chunk.js *.map",
    "generated": "*_pb2.py *_pb2.pyi *_pb2_grpc.py *.pb.go *.pb.h *.pb.cc *.pb.c *.g.dart *.designer.cs *.g.cs",
    "node_modules": "node_modules/ bower_components/",
    "cache": "__pycache__/",
}
REASONS = tuple(reason for reason, patterns in _BY_REASON.items() for _ in patterns.split())
PATTERNS = Patterns("\n".join(pattern for patterns in _BY_REASON.values() for pattern in patterns.split()).encode())
VIRTUAL_ENVIRONMENT = "pyvenv.cfg"  # https://peps.python.org/pep-0405/
CACHE_TAG = "CACHEDIR.TAG"  # https://bford.info/cachedir/
