"""Teaches schemathesis the media types of this interface that it does not know."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def newline_delimited_json(ctx, value):
    return value.encode() if isinstance(value, str) else json.dumps(value).encode() + b"\n"


@schemathesis.deserializer("image/gif", "text/event-stream")
def opaque(ctx, response):
    return response.content.decode("latin-1")
