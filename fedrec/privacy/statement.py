"""What a run may claim, in words: who is protected from whom, and what is not covered."""

from __future__ import annotations

from fedrec.config_protection import CUSTOMER
from fedrec.privacy.customers import customer_statement
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.policy import PrivacyPolicy

CLEAR = (
    "not private: interactions and personal parameters stay on the client, but its update "
    "travels in clear and without noise, and shows which items it touched"
)
PSEUDO = (
    "not private: interactions and personal parameters stay on the client; its update travels in "
    "clear, {count} random items hide which items it touched, without any guarantee"
)
UNBOUNDED = (
    "not private: each {unit}'s update is clipped to norm {clip:g}, but no noise is added, so "
    "nothing is guaranteed"
)
CENTRAL = (
    "({epsilon:.2f}, {delta:.1e})-differential privacy of every {unit} towards all who see the "
    "models of all {rounds} rounds, but not towards the server, which sees {sums} in "
    "clear: each {unit}'s whole update is clipped ({clip}) and noise of {noise:.4g} times that "
    "norm is added to the sum; {sampling}, accounted by privacy loss distributions. "
)
DISTRIBUTED = (
    "({epsilon:.2f}, {delta:.1e})-differential privacy of every {unit} towards everyone, the "
    "server too if it follows the protocol, over {rounds} rounds: each {unit}'s whole update is "
    "clipped ({clip}, rounding included), and each adds a share of Skellam noise inside the secure "
    "sum, together {noise:.4g} times that norm with the {least} clients that a round needs, and "
    "more with more; no sum is seen without. {sampling}; one {unit}'s data are taken away, and it "
    "takes part with an update of zero; accounted by Rényi divergences. Clients that tell the "
    "server their noise take their shares of it away. "
)
LOCAL = (
    "({epsilon:.2f}, {delta:.1e})-local differential privacy of every {unit} towards everyone, "
    "the server too, at most, as if it had trained in all {rounds} rounds: its whole update is "
    "clipped ({clip}) and it adds noise of {noise:.4g} times that norm itself; one {unit}'s data "
    "are replaced, accounted by privacy loss distributions. "
)
SAMPLING = {
    "all": "one {unit} is added or removed, all train in every round",
    "poisson": "one {unit} is added or removed, each trains with chance {rate:.3g}, in secret",
    "fixed": "one {unit} is replaced, {drawn} of them train, in secret",
}
TAKING_PART = {
    "all": "All take part in every round",
    "poisson": "Each takes part with chance {rate:.3g}, which the server then knows",
    "fixed": "Each takes part with chance {rate:.3g}, which the server then knows",
}
JOINT = (
    "Personal parameters never leave a {unit}: what it is shown follows from its own data and "
    "from the private model (joint differential privacy). Not covered: {exact} "
    "validation and test figures, which are exact; catalogue and sizes are public"
)
LOGGED = "the loss and counts in the log and all"
UNLOGGED = "all"
SEEDED = (
    ". Noise and samples follow from run.seed, for repeatable research: whoever knows the seed can "
    "take the noise away"
)


def statement(policy: PrivacyPolicy, ledger: Ledger, unit: str) -> str:
    """Return what is claimed for a run that has spent `ledger`.

    Args:
        policy: of the run.
        ledger: its rounds.
        unit: what a client is, as "user".
    """
    section, clients = policy.config.privacy, policy.config.clients
    if not policy.private:
        return PSEUDO.format(count=section.pseudo_items) if section.pseudo_items else CLEAR
    if policy.noise_multiplier == 0:
        return UNBOUNDED.format(
            clip=section.clip, unit=CUSTOMER if policy.by_customer else "client"
        )
    exact = UNLOGGED if policy.distributed else LOGGED
    end = SEEDED if section.draws == "seeded" else ""
    if policy.by_customer:
        return customer_statement(policy, ledger, exact) + end
    clip = f"norm {section.clip:g}"
    if policy.adaptive:
        clip = f"at a norm that follows the {section.clip_quantile:g} quantile"
    texts = {"local": LOCAL, "distributed": DISTRIBUTED}
    takes = TAKING_PART if policy.distributed else SAMPLING
    drawn = min(clients.per_round, policy.num_clients)
    words = takes[clients.sampling].format(unit=unit, drawn=drawn, rate=drawn / policy.num_clients)
    text = texts.get(section.mechanism, CENTRAL).format(
        epsilon=ledger.epsilon(policy.delta),
        delta=policy.delta,
        sums="the sums of nodes" if policy.config.secure.mode == "off" else "the sum of a round",
        unit=unit,
        rounds=ledger.rounds,
        clip=clip,
        noise=policy.noise_multiplier,
        sampling=words,
        least=policy.config.server.min_clients,
    )
    return text + JOINT.format(unit=unit, exact=exact) + end
