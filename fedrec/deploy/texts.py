"""Scripts and words of the folders that `fedrec deploy init` makes."""

from __future__ import annotations

import json
from collections.abc import Mapping

NODE_SCRIPT = """#!/bin/sh
# Starts this merchant's node, again when it ends, and ends it when told to.
# PYTHON names the interpreter that has fedrec: PYTHON=/opt/fedrec/bin/python ./start.sh
cd "$(dirname "$0")" || exit 1
exec "${PYTHON:-python3}" -m fedrec deploy node .
"""

LINK_SCRIPT = """#!/bin/sh
# Starts the SuperLink, lets the merchants' nodes in, and ends with it.
# PYTHON names the interpreter that has fedrec: PYTHON=/opt/fedrec/bin/python ./start.sh
cd "$(dirname "$0")" || exit 1
exec "${PYTHON:-python3}" -m fedrec deploy link .
"""

RUN_SCRIPT = """#!/bin/sh
# Trains: begins the run of run.toml in the folder "run", or continues what was interrupted.
cd "$(dirname "$0")" || exit 1
set -- --engine deployed --link . --app app "$@"
if [ -f run/config.toml ]; then
    exec "${PYTHON:-python3}" -m fedrec run --resume run "$@"
fi
exec "${PYTHON:-python3}" -m fedrec run run.toml --out run "$@"
"""

OVERVIEW = """A federation of {count} merchants: {names}
Server: {address}

  authority/   signs the server's certificate. Keep it offline; nobody needs it until then.
  server/      for the machine that merges. See server/README.txt.
  merchants/   a folder for each merchant. Hand each to its own merchant alone, by a way that
               you trust with a key, and delete your copy.

Fingerprint of the registry of identities (compare it with every merchant by telephone):
  {fingerprint}

Whoever makes these folders has held all keys once: let somebody do it whom all merchants
trust, on a machine that is not the server's, and delete merchants/ when all have theirs.
"""

SERVER = """The server of a federation of {count} merchants: {names}

1. Install the same versions: pip install "fedrec=={fedrec}" "flwr=={flwr}"
2. Let port {port} in from the merchants. Flower serves all its interfaces on it; those that
   start runs and register nodes answer this machine alone. So put no proxy on this machine
   before it: all callers would look like this machine.
3. fedrec deploy check .      says what is wrong and what to do
4. ./start.sh                 the SuperLink; let systemd or another service keep it running
5. ./run.sh                   trains, once the merchants' nodes are up; after a break the
                              same command continues from the last checkpoint

run.toml is the experiment; the merchants' rows are not here, and nothing of them is. Nodes
that are started later than the run, or come back, join in the next round; one that would be
skipped without them waits up to silo.absent_s = {absent_s:g} seconds. A node that does not
answer within silo.answer_s = {answer_s:g} seconds counts as lost for that round. What protects the
merchants also stands in their agreed.toml: change it in run.toml alone, and they refuse.

The certificate is valid for {days} days. To renew it: fedrec deploy renew DIR, where
authority/ is, then copy server/server.crt and server/server.key here and restart.
"""

MERCHANT = """The node of the merchant {name!r} in a federation of: {names}
Server: {address}

1. Install the same versions: pip install "fedrec=={fedrec}" "flwr=={flwr}"
2. Put your rows beside this file, or name your file in node.toml, with its columns: one row
   for each interaction, with the ids of items.jsonl. Rows of other items are left out.
   The file stays here. What leaves is stated in the privacy statement of the run.
3. fedrec deploy check .      says what is wrong and what to do
4. ./start.sh                 the node; it tries again until the server is there. As a service:

     [Service]
     ExecStart=/opt/fedrec/start.sh
     Environment=PYTHON=/opt/fedrec/bin/python
     Restart=always

   No port is opened to the outside: the node calls the server. Other users of this machine
   can speak with the node's own port, so run it where you trust them.

Files: agreed.toml is what you agree to; read it: your node takes no part in a run with other
values, whatever the server asks. ca.crt tells the server from others; node.key tells you from
others; never send it to anybody, the server included.
"""

IDENTITY = """
{identity} is your identity in secure aggregation, as secret as node.key. With registry.txt,
which holds everybody's public keys, it binds this node to runs with secure.mode =
"malicious-server": it refuses all others. Compare the registry's fingerprint with the other
merchants by another way than the server:

  {fingerprint}
"""


def node_toml(name: str, address: str, columns: Mapping[str, str]) -> str:
    """Return a merchant's node.toml.

    Args:
        name: of the merchant.
        address: host:port of the server.
        columns: keys of the section `data`, with the names that the experiment gives.
    """
    lines = [f"{key} = {json.dumps(value)}" for key, value in columns.items()]
    return (
        f"merchant = {json.dumps(name)}\nsuperlink = {json.dumps(address)}\n"
        'items = "items.jsonl"\n\n'
        "# Your own file; paths are relative to this one. An empty column: you have none.\n"
        '[data]\npath = "rows.csv"\n' + "\n".join(lines) + "\n"
    )


def server_toml(host: str, port: int, merchants: tuple[str, ...]) -> str:
    """Return the server's server.toml."""
    return (
        f"host = {json.dumps(host)}  # what the SuperLink listens on\nport = {port}\n"
        f"merchants = {json.dumps(list(merchants))}\n"
    )


def versions_toml(fedrec: str, flwr: str) -> str:
    """Return the versions that all parties agree on."""
    return f'fedrec = "{fedrec}"\nflwr = "{flwr}"\n'
