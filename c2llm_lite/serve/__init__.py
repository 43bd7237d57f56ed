"""A bundle behind OpenAI's embeddings API: software that knows that API is pointed at a URL, and nothing in it changes.

    cli.py        the command `serve`: socket, signals, uvicorn
    app.py        the endpoints
    request.py    a body to a checked request, or OpenAI's error
    reply.py      vectors to a body
    queue.py      waiting requests joined into full batches
    body.py, limits.py, keys.py    what is let in
    metrics.py    what Prometheus reads
    openapi.py    the API's own description, as this server was started

No text and no key is ever logged, and nothing here opens a connection to anywhere.
"""
