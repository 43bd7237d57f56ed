"""Limits on the size and duration of requests, so that memory and time stay bounded."""

from __future__ import annotations

BODY_BYTES = 8 << 20  # per request; the 300,000 tokens that OpenAI accepts are about 1 MB of text
BODIES_BYTES = 64 << 20  # of all requests being read
HEADER_SECONDS = 30.0  # to send a request's header
BODY_SECONDS = 30.0  # to send a body
SEND_SECONDS = 30.0  # to read a piece of a response
# Keep idle connections longer than clients do (httpx: 5), so that none is closed just as it is used again.
KEEP_ALIVE_SECONDS = 75
# How long a stopping server waits for its clients; OpenAI's clients wait no longer for a response.
STOP_SECONDS = 600.0
LAST_REQUEST_SECONDS = 0.1  # for clients that had connected when the server stopped to send a request
HURRY_SECONDS = 1.0  # for clients to read the 503 that ends their requests

CONNECTIONS = 4096  # open at once, if the limit on open files allows it
BACKLOG = 100  # connections accepted at once, before any can be refused
REFUSED = 64  # connections beyond the limit that stay open for REFUSED_SECONDS, so that their 503 arrives
REFUSED_SECONDS = 1.0
SPARE_FILES = 80  # file descriptors for everything else

TEXTS = 2048  # per request, as at OpenAI
# A text with more characters per token is refused before it is tokenized: the tokenizer takes about 150 bytes of memory
# per token.
CHARACTERS_A_TOKEN = 64
TOKENIZED_CHARACTERS = 1 << 16  # at a time, for the same reason
TOKENIZING = 2  # requests at a time
