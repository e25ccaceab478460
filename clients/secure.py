"""Secure aggregation on a node: each hosted client is a party with keys of its own.

A node may be a new process at every message, so between two messages the parties sleep
in the node's context, which never leaves it; the next message, or the end of the
session, replaces what is stored there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from flwr.app import Context, Message
from numpy.typing import NDArray

from clients.hosting import Host, host
from clients.identities import check_agreement, own_identities
from clients.secret import check_least, node_key
from clients.secure_evaluation import evaluation
from clients.store import begin_round, end_round, keep
from fedrec.errors import EngineError, ProtocolError
from fedrec.privacy.policy import build_policy
from fedrec.secure import Host as SharedWork
from fedrec.secure import Party, Plan
from fedrec.training.secure_node import secure_vectors
from fedrec.training.secure_rows import indicators
from fedrec.wire import TrainRequest
from fedrec.wire_secure import (
    FORGET,
    SecureReply,
    SecureRequest,
    SleepingSession,
    store_session,
    stored_session,
)

Answers = dict[int, bytes | bytearray]


def secure(message: Message, context: Context) -> Message:
    """Take one stage of a session for all parties that the request names.

    A party that refuses its message is lost; the others go on.
    """
    request = SecureRequest.unpack(message.content)
    if request.stage == FORGET:
        store_session(context.state, None)
        return Message(SecureReply({}).pack(), reply_to=message)
    here = host(context)
    here.positions(np.array(list(request.messages), np.int64))
    stage = _Stage(here, context, request)
    return Message(stage.run().pack(), reply_to=message)


class _Stage:
    """One stage for the parties of a node."""

    def __init__(self, here: Host, context: Context, request: SecureRequest) -> None:
        self._here = here
        self._context = context
        self._request = request
        self._refused: dict[int, str] = {}
        self._parties: dict[int, Party] = {}
        session = stored_session(context.state)
        if request.stage == "advertise":
            session = SleepingSession(request.plan, b"", {})
        if session is None:
            raise EngineError(
                f"this node knows no session of secure aggregation at the stage {request.stage!r}: "
                "it was started anew in the middle of a round"
            )
        self._session = session
        self._plan = Plan.from_bytes(session.plan)
        self._work = SharedWork()

    def run(self) -> SecureReply:
        """Wake the parties, let them answer, and put them to sleep again."""
        steps: dict[str, Callable[[], Answers]] = {
            "advertise": lambda: self._each(lambda party, _: party.advertise()),
            "share": lambda: self._each(lambda party, raw: party.share(raw)),
            "mask": self._mask,
            "consistency": lambda: self._each(lambda party, raw: party.confirm(raw)),
            "unmask": lambda: self._each(lambda party, raw: party.unmask(raw)),
        }
        if self._request.stage not in steps:
            raise EngineError(f"secure aggregation has no stage {self._request.stage!r}")
        store_session(self._context.state, None)  # whatever happens, nothing is answered twice
        answers: Answers = {}
        try:
            self._wake()
            answers = steps[self._request.stage]()
        except ProtocolError as error:  # what concerns all parties: none of them answers
            self._refused = dict.fromkeys(self._request.messages, str(error))
        self._work.wipe()
        self._sleep(answers)
        return SecureReply(answers, self._refused)

    def _wake(self) -> None:
        own = own_identities(self._context, self._here, list(self._request.messages))
        if self._request.stage == "advertise":
            check_agreement(self._plan, self._context, self._here)
        for number in self._request.messages:
            if self._request.stage == "advertise":
                party = Party(self._plan, number, own[number], host=self._work)
            elif number in self._session.parties:
                stored, roster = self._session.parties[number], self._session.roster
                party = Party.wake(self._plan, number, own[number], stored, roster, host=self._work)
            else:
                self._refused[number] = "it is not part of this session"
                continue
            self._parties[number] = party

    def _sleep(self, answers: Answers) -> None:
        roster = self._session.roster
        if self._request.stage == "share":
            roster = bytes(next(iter(self._request.messages.values()), b""))
        stored = {}
        for number in answers if self._request.stage != "unmask" else ():
            stored[number] = self._parties[number].sleep()
        store_session(self._context.state, SleepingSession(self._session.plan, roster, stored))

    def _each(self, answer: Callable[[Party, bytes], bytes]) -> Answers:
        answers: Answers = {}
        for number, party in self._parties.items():
            try:
                answers[number] = answer(party, bytes(self._request.messages[number]))
            except ProtocolError as error:
                self._refused[number] = str(error)
        return answers

    def _mask(self) -> Answers:
        request = self._request
        clients = np.array(sorted(self._parties), np.int64)
        if request.vectors == "evaluation":
            if not len(clients):
                return {}
            state, asked = self._context.state, request.evaluate
            return self._masked(evaluation(self._here, state, self._plan, asked, clients))
        if request.train is None:
            raise EngineError("a request to mask must say what to train")
        if request.vectors == "indicators":
            return self._masked(self._indicators(request.train, clients))
        return self._train(request.train, clients)

    def _indicators(
        self, train: TrainRequest, clients: NDArray[np.int64]
    ) -> Iterator[tuple[int, dict[str, NDArray[np.uint64]]]]:
        """Say which rows the clients will send; nothing of it is kept."""
        here, personal = self._here, None
        if here.setup.config.compress.rows:  # training decides, from what is personal
            start = begin_round(here, self._context.state, train.moment)
            personal = here.held(start.personal, clients)
        return indicators(here.setup, train.shared, personal, clients, train.round_number)

    def _train(self, train: TrainRequest, clients: NDArray[np.int64]) -> Answers:
        """Train the clients, mask each one's update as it comes, and keep what is personal."""
        here, state = self._here, self._context.state
        check_least(here.setup.config, self._plan)
        start = begin_round(here, state, train.moment)
        try:
            policy = build_policy(here.setup.config, here.setup.population.num_clients)
            key = node_key(here.setup.config, here.directory / train.moment.session)
            held = here.held(start.personal, clients, train.counted)
            vectors, trained = secure_vectors(
                here.setup,
                train.shared,
                held,
                clients,
                train.round_number,
                policy.at(train.round_number, train.clip, key),
                self._request.kept,
            )
            answers = self._masked(vectors)
            trained = here.trained(held, trained, train.round_number)
            keep(here, state, train.moment, start, trained, clients, train.round_number)
        finally:  # a node whose training fails must still be there after a resume
            end_round(here, state, train.moment)
        return answers

    def _masked(self, vectors: Iterator[tuple[int, dict[str, NDArray[np.uint64]]]]) -> Answers:
        answers: Answers = {}
        for number, own in vectors:
            try:
                inbox = bytes(self._request.messages[number])
                answers[number] = self._parties[number].mask(inbox, own)
            except ProtocolError as error:
                self._refused[number] = str(error)
        return answers
