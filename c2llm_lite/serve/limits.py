"""How much one client may ask for, and for how long it may take to ask: memory and time stay bounded, whoever calls."""

from __future__ import annotations

BODY_BYTES = 8 << 20  # of one request: the 300,000 tokens that OpenAI takes at once are about 1 MB of text
BODIES_BYTES = 64 << 20  # of all requests that are being read
BODY_SECONDS = 30.0  # to send a body in
SEND_SECONDS = 30.0  # to take a piece of an answer in

TEXTS = 2048  # of one request, as OpenAI has it
# No text of max_tokens is longer than this many characters a token, and a longer one is refused before it is tokenised:
# the tokenizer takes about 150 bytes of memory a token.
CHARACTERS_A_TOKEN = 64
TOKENISED_CHARACTERS = 1 << 16  # at a time, for the same reason
TOKENISING = 2  # requests at a time
