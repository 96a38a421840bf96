"""Teaches schemathesis the media types of this interface that it does not know, and lets each of its requests come from another client."""

import json
from itertools import count

import schemathesis


CLIENTS = count()


# It tries many requests without a token. The daemon, which trusts it as a proxy, would rightly slow down one client who does that.
@schemathesis.hook
def before_call(ctx, case, kwargs):
    client = next(CLIENTS)
    case.headers = {**(case.headers or {}), "X-Forwarded-For": f"10.{client >> 16 & 255}.{client >> 8 & 255}.{client & 255}"}


@schemathesis.serializer("application/x-ndjson")
def newline_delimited_json(ctx, value):
    return value.encode() if isinstance(value, str) else json.dumps(value).encode() + b"\n"


@schemathesis.deserializer("image/gif", "text/event-stream")
def opaque(ctx, response):
    return response.content.decode("latin-1")
