"""embed_column() on a real cluster of several nodes: Ray's own readers and writers around it."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from signing import make_key

from c2llm_lite.convert import convert
from c2llm_lite.errors import BundleError, InputError
from c2llm_lite.integrations.ray import embed_column, embed_dataset, ship

pytestmark = pytest.mark.usefixtures("cluster")
TEXTS = [f"def f{i}(x):\n    return x + {i}\n" * (1 + i % 4) for i in range(60)]


@pytest.fixture
def copy(f32_bundle, tmp_path):
    return shutil.copytree(f32_bundle, tmp_path / "copy")


def dataset(texts, blocks=4):
    return ray.data.from_items([{"id": i, "text": text} for i, text in enumerate(texts)], override_num_blocks=blocks)


def in_order(ds):
    return sorted(ds.take_all(), key=lambda row: row["id"])


def test_vectors_are_embed_s_on_several_nodes_and_go_to_parquet(model, f32_bundle, tmp_path):
    # No node has two CPUs: two actors are on two nodes, and the third node writes.
    asked = {"output": "v", "prompt_name": "document"}
    done = embed_column(dataset(TEXTS), f32_bundle, actors=2, batch_rows=15, **asked)
    done.write_parquet(str(tmp_path / "out"))
    found = pq.read_table(tmp_path / "out").sort_by("id")
    assert found["id"].to_pylist() == list(range(60))
    assert found["text"].to_pylist() == TEXTS
    assert found["v_error"].null_count == 60
    assert found.schema.field("v").type == pa.list_(pa.float32(), 64)
    vectors = np.array(found["v"].to_pylist(), np.float32)
    np.testing.assert_allclose(vectors, model.embed(TEXTS, prompt_name="document"), atol=1e-5)


def test_rows_that_cannot_be_embedded_are_marked_and_the_others_are_not_harmed(model, f32_bundle, tmp_path):
    texts = ["def f(): pass", None, "", "x = 1"]
    settings = {"dim": 20, "precision": "int8"}
    pq.write_table(pa.table({"id": range(4), "code": texts}), tmp_path / "in.parquet")
    read = ray.data.read_parquet(str(tmp_path / "in.parquet"))
    rows = in_order(embed_column(read, f32_bundle, column="code", **settings))
    reasons = [row["embedding_error"] for row in rows]
    assert reasons[0] is None
    assert reasons[3] is None
    assert "not a string" in reasons[1]
    assert "empty" in reasons[2]
    assert [row["embedding"] is None for row in rows] == [False, True, True, False]
    found = np.array([rows[0]["embedding"], rows[3]["embedding"]])
    assert np.abs(found - model.embed([texts[0], texts[3]], **settings)).max() <= 1  # int8 rounds


def test_a_shipped_bundle_needs_no_folder_on_the_nodes(model, copy, cache):
    shipped = ship(copy)
    shutil.rmtree(copy)
    rows = in_order(embed_column(dataset(TEXTS[:6], 2), shipped, actors=2))
    vectors = np.array([row["embedding"] for row in rows])
    np.testing.assert_allclose(vectors, model.embed(TEXTS[:6]), atol=1e-5)


def test_a_signed_bundle_is_signed_on_the_nodes(copy, tmp_path, monkeypatch):
    pytest.importorskip("cryptography")
    from c2llm_lite.signature import open_bundle, sign

    key, public = make_key(tmp_path, "maker")
    with pytest.raises(BundleError, match=r"has no manifest\.sha256\.sig"):
        ship(copy, public_key=public)
    sign(copy, key)
    shipped = ship(copy, public_key=public)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # what fetch() writes on a node
    open_bundle(shipped.fetch(), public_key=public)


def test_a_node_that_cannot_read_the_bundle_is_named(copy):
    lazy = embed_column(dataset(TEXTS[:2], 1), copy, actors=1)
    shutil.rmtree(copy)
    with pytest.raises(ray.exceptions.RayError, match=r"BundleError: node \S+ cannot read the bundle: .*ship"):
        lazy.take_all()


def test_a_node_with_another_bundle_is_refused(copy, checkpoint_folder):
    lazy = embed_column(dataset(TEXTS[:2], 1), copy, actors=1)
    shutil.rmtree(copy)
    convert(checkpoint_folder, copy, "gguf:q8_0", target_probes=False)
    with pytest.raises(ray.exceptions.RayError, match="contains bundle"):
        lazy.take_all()


def test_wrong_arguments_are_reported_before_a_node_is_asked(f32_bundle, tmp_path):
    ds = dataset(TEXTS[:2], 1)
    with pytest.raises(InputError, match="no column 'code'; it has id, text"):
        embed_column(ds, f32_bundle, column="code")
    with pytest.raises(BundleError, match="not a folder"):
        embed_column(ds, tmp_path / "nowhere")
    for settings in ({"dim": 65}, {"prompt_name": "nobody"}, {"precision": "int4"}, {"cpus_per_actor": 0}):
        with pytest.raises(ValueError, match=str(next(iter(settings.values())))):
            embed_column(ds, f32_bundle, **settings)


def test_the_earlier_name_still_works_and_says_what_it_is_called_now(f32_bundle):
    with pytest.warns(DeprecationWarning, match="embed_column"):
        embed_dataset(dataset(TEXTS[:2], 1), f32_bundle)
