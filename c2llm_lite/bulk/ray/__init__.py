"""Rows in, vectors out, on a Ray cluster.

inputs.py   files split into spans of rows, the same ones in every run
tables.py   rows from the middle of a Parquet or Arrow file
parts.py    a span's vectors as a Parquet file, complete or absent
plan.py     the work of a run
run.py      embeds the spans without a part, for `c2llm-lite embed-dataset`
dataset.py  embed_column(), for datasets that Ray reads and writes
nodes.py    brings the bundle to each node
"""
