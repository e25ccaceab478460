"""The Flower ClientApp: which handler answers which message."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.evaluation import evaluate
from clients.hosting import host
from clients.identities import identities
from clients.secure import secure
from clients.training import train
from fedrec.wire import RosterReply, RosterRequest

app = ClientApp()
app.train()(train)
app.train("secure")(secure)
app.evaluate()(evaluate)
app.query("identities")(identities)


@app.query("roster")
def roster(message: Message, context: Context) -> Message:
    """Answer which clients this node hosts."""
    RosterRequest.unpack(message.content)
    return Message(RosterReply(host(context).clients).pack(), reply_to=message)
