"""The embedding objects that frameworks ask for, each over a loaded bundle: give one where the framework takes its own.

    langchain.py               LangChain's Embeddings
    llamaindex.py              LlamaIndex's BaseEmbedding
    sentence_transformers.py   encode(), encode_query() and encode_document() as sentence-transformers has them
    mteb.py                    MTEB's encoder
    ray.py                     embed_column() over a Dataset of Ray Data's, with actors that load the bundle

The name of a file is the framework's. Each imports its framework; ray.py gets what it offers from bulk/ray/.
"""
