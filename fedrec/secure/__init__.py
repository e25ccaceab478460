"""Secure aggregation: a server learns the sum of clients' vectors, and nothing else of them.

The protocol is SecAgg+ (Bell et al., CCS 2020; Bonawitz et al., CCS 2017).  `Party` and
`Coordinator` are its state machines, bytes in and bytes out; `simulate` runs them in one
process; `quantise` turns real vectors into integers and back.

What is protected: against a server that follows the protocol ("semi-honest"), or that
lies to clients about who is lost ("malicious-server"), working together with fewer
clients than the threshold allows, one client's vector stays hidden in the sum.  Not
protected: what the sum itself says, and the sum against clients that send wrong inputs.
"""

from fedrec.secure.agreement import Identity
from fedrec.secure.coordinator import STAGES, Coordinator, Sums
from fedrec.secure.host import Host
from fedrec.secure.party import Party
from fedrec.secure.plan import MODES, Plan, Vector
from fedrec.secure.quantise import FixedPoint, decode, encode
from fedrec.secure.simulate import SecureSum, simulate

__all__ = [
    "MODES",
    "STAGES",
    "Coordinator",
    "FixedPoint",
    "Host",
    "Identity",
    "Party",
    "Plan",
    "SecureSum",
    "Sums",
    "Vector",
    "decode",
    "encode",
    "simulate",
]
