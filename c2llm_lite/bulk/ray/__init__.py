"""Files of rows in, a folder of parts out, on a cluster: what `c2llm-lite embed-dataset` does.

    inputs.py   files cut into spans of rows, the same ones in every run
    tables.py   rows out of the middle of a parquet or Arrow file
    rows.py     vectors of what can be embedded, and a reason for what cannot
    parts.py    a span's vectors as a parquet file, whole or absent
    run.py      the spans that have no part yet, on Ray Data

rows.py serves c2llm_lite.integrations.ray too, whose embed_dataset() is for datasets that Ray itself reads and writes.
"""
