"""Rows in, vectors out, on a Ray cluster.

inputs.py   files cut into spans of rows, the same ones in every run
tables.py   rows out of the middle of a parquet or Arrow file
parts.py    a span's vectors as a parquet file, whole or absent
plan.py     what a run has to do
run.py      the spans that have no part yet: what `c2llm-lite embed-dataset` does
dataset.py  embed_column(), for datasets that Ray itself reads and writes
nodes.py    how a bundle reaches each node
"""
