"""How much one client may ask for, and for how long it may take to ask: memory and time stay bounded, whoever calls."""

from __future__ import annotations

BODY_BYTES = 8 << 20  # of one request: the 300,000 tokens that OpenAI takes at once are about 1 MB of text
BODIES_BYTES = 64 << 20  # of all requests that are being read
HEADER_SECONDS = 30.0  # to send a request's header in
BODY_SECONDS = 30.0  # to send a body in
SEND_SECONDS = 30.0  # to take a piece of an answer in
# An idle connection is kept longer than clients keep theirs (httpx: 5), so that none is closed as it is used again.
KEEP_ALIVE_SECONDS = 75
# How long a stopping server waits for its clients: OpenAI's clients wait no longer for an answer.
STOP_SECONDS = 600.0
HURRY_SECONDS = 1.0  # for clients to take the 503 that ends their requests

CONNECTIONS = 4096  # open at once, where the limit on open files allows so many
BACKLOG = 100  # connections that are accepted at once, before any can be refused
REFUSED = 64  # connections beyond the limit that are kept open REFUSED_SECONDS, so that their 503 arrives
REFUSED_SECONDS = 1.0
SPARE_FILES = 80  # file descriptors for all else

TEXTS = 2048  # of one request, as OpenAI has it
# No text of max_tokens is longer than this many characters a token, and a longer one is refused before it is tokenized:
# the tokenizer takes about 150 bytes of memory a token.
CHARACTERS_A_TOKEN = 64
TOKENIZED_CHARACTERS = 1 << 16  # at a time, for the same reason
TOKENIZING = 2  # requests at a time
