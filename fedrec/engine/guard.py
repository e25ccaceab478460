"""What strangers may ask of a SuperLink: what SuperNodes ask, and nothing else.

Flower 1.41 serves all its interfaces on one port.  SuperNodes show who they are, but the
interfaces that register nodes, start runs and hand out the server's tasks ask for nothing:
whoever reaches the port could let itself in.  So these answer processes of this machine alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

OPEN = "/v1/fleet/"
"""What SuperNodes call; Flower checks their signatures."""

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REFUSAL = b"this interface answers processes of its own machine alone\n"


class OwnMachineOnly:
    """ASGI middleware: all but the interface of SuperNodes is for this machine.

    Args:
        app: what answers the others.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403."""
        if scope["type"] not in ("http", "websocket") or allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})


def allowed(scope: Scope) -> bool:
    """Return whether a request may be answered.

    Args:
        scope: of the request, with "path", "client" and "server" (host, port).
    """
    if scope["type"] == "http" and str(scope["path"]).startswith(OPEN):
        return True
    client, server = scope.get("client"), scope.get("server")
    if not client or not server:
        return False
    try:
        caller = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    return caller.is_loopback or client[0] == server[0]
