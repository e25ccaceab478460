"""What each figure about contributions means, and what measuring it opens, in plain words."""

from __future__ import annotations

from fedrec.config import Config
from fedrec.config_sums import SUMMED

STATEMENTS = {
    "leave-one-out": "what customers of all merchants lose when the federation is trained without "
    "this merchant",
    "shapley-retrained": "what the merchant adds to those before it, averaged over all orders; "
    "every subset of merchants trained a federation of its own",
    "shapley-updates": "what the merchant's updates of all rounds add to those of others, averaged "
    "over orders; models are rebuilt from updates, nothing is trained anew",
    "shapley-rounds": "what the merchant's update adds to those of others in each round, averaged "
    "over orders and added up over rounds",
    "groups-rebuilt": "what the merchant seems to add to those before it, averaged over orders; "
    "models are rebuilt from what the sums of changing groups let one guess of each merchant's "
    "updates",
    "groups": "the additive share that explains best what random groups of merchants added to the "
    "model, round by round; blind to what a merchant adds in some company only, and rough "
    "where rounds are few",
}
"""Name of an estimate -> what it says."""

OPEN = (
    "Single updates were opened to whoever computed this: it shows what `fedrec audit` shows "
    "of a run without secure aggregation."
)
GROUPS = (
    "Sums of {groups} groups of {least} merchants or more were opened in {rounds} instead of "
    "the sum of all, and the validation metric of the models that unions of groups make. A "
    "merchant is hidden among at least {others} others of its group, and all of these together "
    "would see its update in that round. Groups change with the rounds and a merchant's updates "
    "resemble each other, so single ones are guessed, the better the more rounds; what repeats in "
    "all of them is no secret after many, and merchants' weights in the mean are none after a "
    "few. experiments/contribution.py measures it; contribution.rounds sets a limit."
)
CONSTANT = (
    "Sums of {groups} groups of {least} merchants or more were opened once; merchants of a group "
    "cannot be told apart by them, so each is given the mean of its group."
)


def leak_of(config: Config) -> str:
    """Return what measuring contributions opens beyond a run without it."""
    section = config.contribution
    if config.secure.mode == "off":
        return OPEN
    text = CONSTANT if config.train.method in SUMMED else GROUPS
    first = f"the first {section.rounds} rounds" if section.rounds else "every round"
    sizes = {"groups": section.groups, "least": section.least, "others": section.least - 1}
    return text.format(rounds=first, **sizes)
