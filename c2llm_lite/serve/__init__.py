"""A bundle behind OpenAI's embeddings API: software that knows that API is pointed at a URL, and nothing in it changes.

    server.py       uvicorn's settings, and how it stops; the command `serve` (cli/serve.py) starts it
    connection.py   one connection: how long it may take, and how many there may be
    app.py          the endpoints
    request.py      a body to a checked request, or OpenAI's error; json_fields.py reads its JSON
    failures.py     OpenAI's form of an error
    reply.py        vectors to a body
    queue.py        waiting requests joined into full batches
    body.py, limits.py, hosts.py, keys.py    what is let in
    metrics.py      what Prometheus reads
    log_limit.py    a log that clients cannot fill
    openapi.py      the API's own description, as this server was started

No text and no key is ever logged, and nothing here opens a connection to anywhere.
"""
