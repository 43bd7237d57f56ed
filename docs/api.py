"""Writes the reference of the public Python names: `make api`. It needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc

import c2llm_lite

PUBLIC = (
    "c2llm_lite",
    "c2llm_lite.errors",
    "c2llm_lite.search",
    "c2llm_lite.bulk.file",
    "c2llm_lite.verify",
    "c2llm_lite.convert",
    *(
        f"c2llm_lite.integrations.{name}"
        for name in ("langchain", "llamaindex", "mteb", "ray", "sentence_transformers")
    ),
    "!c2llm_lite.convert.",  # its rooms are internal
)


def main(folder: Path) -> None:
    """Write the pages to `folder`."""
    # pdoc reads a module's dictionary, and these names are imported on first use.
    vars(c2llm_lite).update({name: getattr(c2llm_lite, name) for name in c2llm_lite.__all__})
    pdoc.render.configure(docformat="google", show_source=False)
    pdoc.pdoc(*PUBLIC, output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
