"""Disables telemetry of the libraries that this package imports; must be imported first.

`import openvino` and `import nncf` look up a statistics server of their makers (openvino_telemetry, which also writes
~/intel/openvino_ga_cid); Hugging Face's libraries and Ray report their use unless a variable forbids it. A variable
that the user has set, and a telemetry module that the user has imported, are left alone.
"""

# Only what Python itself has imported by now: see __init__.py.
import os
import sys

VARIABLES = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, and transformers, optimum, datasets and mteb through it
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets counts each load_dataset(), local files included
    "RAY_USAGE_STATS_ENABLED": "0",
}
MODULES = ("openvino_telemetry",)  # importing one fails, and its users continue without it

for name, value in VARIABLES.items():
    os.environ.setdefault(name, value)
for module in MODULES:
    sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # None marks a module that cannot be imported
