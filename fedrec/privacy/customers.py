"""What a run may claim where a customer of a merchant is protected, in words."""

from __future__ import annotations

from fedrec.privacy.ledger import Ledger
from fedrec.privacy.policy import PrivacyPolicy

CENTRAL = (
    "({epsilon:.2f}, {delta:.1e})-differential privacy of every customer towards all who see "
    "the models of all {rounds} rounds, but not towards the customer's merchant, nor towards "
    "the server, which sees {sums} without noise: a merchant clips each customer's whole update"
    " (norm {clip:g}) before it adds them up, and the server adds noise of {noise:.4g} times "
    "that norm to the sum of all merchants; one customer of one merchant is added or removed, "
    "accounted by privacy loss distributions. "
)
LOCAL = (
    "({epsilon:.2f}, {delta:.1e})-differential privacy of every customer towards everyone but "
    "the customer's merchant, the server too, over {rounds} rounds: a merchant clips each "
    "customer's whole update (norm {clip:g}), adds them up, and adds noise of {noise:.4g} times"
    " that norm to its own sum; one customer of one merchant is added or removed, accounted by "
    "privacy loss distributions. "
)
DISTRIBUTED = (
    "({epsilon:.2f}, {delta:.1e})-differential privacy of every customer towards everyone but "
    "the customer's merchant, the server too if it follows the protocol, over {rounds} rounds: "
    "a merchant clips each customer's whole update (norm {clip:g}, what rounding the merchant's"
    " sum adds included), adds them up, and adds a share of Skellam noise inside the secure "
    "sum, together {noise:.4g} times that norm with the {least} merchants that a round needs, "
    "and more with more; no sum is seen without. One customer's data are taken away, and it "
    "takes part with an update of zero; accounted by Rényi divergences. Merchants that tell the"
    " server their noise take their shares of it away. "
)
PERSON = (
    "That is of a person who is a customer of {most}: merchants do not know each other's "
    "customers, so each bounds its own, and {more}. The merchant itself is not protected: what "
    "its customers like on the whole can be told from its sum. "
)
AT_MORE = "of one who is a customer of {number} merchants epsilon is {epsilon:.2f}"
REST = (
    "A customer's interactions and vector never leave its merchant, and what the customer is "
    "shown follows from them and from the private model (joint differential privacy). Not "
    "covered: {exact} validation and test figures, which are exact; catalogue, merchants and "
    "the number of customers are public"
)


def customer_statement(policy: PrivacyPolicy, ledger: Ledger, exact: str) -> str:
    """Return what is claimed for a run with noise that protects customers.

    Args:
        policy: of the run.
        ledger: its rounds.
        exact: what else is not covered, before the figures of evaluation.
    """
    section = policy.config.privacy
    texts = {"local": LOCAL, "distributed": DISTRIBUTED}
    masked = policy.config.secure.mode != "off"
    text = texts.get(section.mechanism, CENTRAL).format(
        epsilon=ledger.epsilon(policy.delta),
        delta=policy.delta,
        rounds=ledger.rounds,
        clip=section.clip,
        noise=policy.noise_multiplier,
        least=policy.config.server.min_clients,
        sums="the sum of all merchants" if masked else "each merchant's sum",
    )
    each = section.merchants_each
    more = AT_MORE.format(
        number=each + 1,
        epsilon=policy.at_merchants(each + 1, ledger).epsilon(policy.delta),
    )
    most = "one merchant" if each == 1 else f"{each} merchants at most"
    return text + PERSON.format(most=most, more=more) + REST.format(exact=exact)
