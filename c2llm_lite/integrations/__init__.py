"""Adapters that give a loaded bundle the interface of a framework's embedding model.

    langchain.py               LangChain's Embeddings
    llamaindex.py              LlamaIndex's BaseEmbedding
    sentence_transformers.py   encode(), encode_query() and encode_document() as in sentence-transformers
    mteb.py                    MTEB's encoder
    ray.py                     embed_column() for a Ray Data dataset, with actors that load the bundle

Each file is named after its framework and imports it. ray.py reexports from bulk/ray/.
"""
