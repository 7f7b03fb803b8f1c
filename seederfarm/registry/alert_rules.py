"""The rules of alerts: what each is about, its defaults, and its four lines for people. Pure.

Rules with `evaluates` are checked on a schedule (`control.alerts`). The others are opened by the code that
meets their condition; one without an end of its own (`quiet`) is over when it was not met for so long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400

NOTHING_LOST: Final = "Nothing is lost: copies stay as they are and are served."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A kind of alert: texts for people, and defaults. `evaluates`: whether control checks the condition."""

    kind: str
    title: str
    condition: str
    """When there is an alert, with the word `{threshold}` where there is one."""
    what: str = ""
    kept: str = NOTHING_LOST
    does: str
    hint: str
    evaluates: bool = False
    opens_after: int = 0
    """Seconds that the condition lasts before the alert opens."""
    closes_after: int = 0
    """Seconds that the condition is over before the alert closes."""
    threshold: int | None = None
    min_threshold: int = 1
    max_threshold: int = 1
    unit: str = ""
    """Of the threshold."""
    quiet: int | None = None
    """Seconds without news after which it is over. None: it has an end of its own."""
    is_optional: bool = True
    """Whether it may be switched off."""


_RULES: Final = (
    Rule(
        kind="drive.short",
        title="Copies below the minimum",
        condition="fewer copies count than wanted, and nothing arrives",
        does="Makes new copies as soon as a worker has room and any peer has the blocks.",
        hint="Open the drive to see why no copy is made: add a worker or room, or ask for fewer copies.",
        evaluates=True,
        opens_after=10 * MINUTE,
        closes_after=2 * MINUTE,
    ),
    Rule(
        kind="drive.unavailable",
        title="Drive unavailable",
        condition="no complete copy is online",
        kept="Copies on workers that are away stay on their disks.",
        does="Looks for its publisher and for other peers that have it, and copies it when one returns.",
        hint="Bring the workers back that have a copy, or ask the publisher to come online.",
        evaluates=True,
        opens_after=5 * MINUTE,
        closes_after=MINUTE,
    ),
    Rule(
        kind="drive.upstream_gone",
        title="Publisher gone before a copy was complete",
        condition="no copy was complete, no peer is connected, and no block arrives",
        kept="What was downloaded is stored and served.",
        does="Looks for its publisher and for other peers about every twenty minutes.",
        hint="Ask the publisher to come online until a copy is complete.",
        evaluates=True,
        opens_after=HOUR,
        closes_after=5 * MINUTE,
    ),
    Rule(
        kind="drive.unplaced",
        title="No worker for a copy",
        condition="no worker may or can take a copy that is wanted",
        what="The plan found no worker for all copies that are wanted.",
        does="Plans again whenever a worker, its room or the drive changes.",
        hint="Add a worker or room, or ask for fewer copies.",
    ),
    Rule(
        kind="drive.forked",
        title="History rewritten",
        condition="a publisher rewrote its history, and copies wait for a decision",
        what="The publisher signed another history than the one that copies keep.",
        kept="Copies keep and serve the old history.",
        does="Nothing until a person decides.",
        hint="To accept it, let the drive follow up to that fork; to stay, quarantine it again.",
        is_optional=False,  # it is also the state of the drive
    ),
    Rule(
        kind="copy.proof",
        title="Wrong proof",
        condition="a copy failed {threshold} or more challenges in a row",
        kept="That copy is not counted, and no other copy is released for it.",
        does="Asks again. After three wrong answers in a row the copy counts no longer as complete, and "
        "another is made.",
        hint="If other drives of this worker fail too, its disk is failing: drain it.",
        evaluates=True,
        threshold=1,
        max_threshold=100,
        unit="challenges",
    ),
    Rule(
        kind="worker.silent",
        title="Worker silent",
        condition="a worker missed three heartbeats and is not lost yet",
        does="Gives it no new copies. When it is lost, drives below their minimum get copies elsewhere.",
        hint="See whether the machine is on and reaches the broker.",
        evaluates=True,
        opens_after=2 * MINUTE,
        closes_after=MINUTE,
    ),
    Rule(
        kind="worker.lost",
        title="Worker lost",
        condition="a worker was silent for longer than its grace",
        does="Makes copies elsewhere of drives below their minimum, after a day of all of its drives, where "
        "there is room. Surplus copies are released when it returns.",
        hint="Is the machine up, and does it reach the broker? Its surplus copies go when it returns.",
        evaluates=True,
    ),
    Rule(
        kind="worker.disk_full",
        title="Disk full",
        condition="at most {threshold} % of a worker's room is free",
        kept="What is stored is served.",
        does="Gives it no copy that does not fit; downloads stop before the disk is full.",
        hint="Add room or raise its quota, drain it, or ask for fewer copies.",
        evaluates=True,
        opens_after=5 * MINUTE,
        closes_after=10 * MINUTE,
        threshold=2,
        max_threshold=50,
        unit="percent",
    ),
    Rule(
        kind="worker.disk_forecast",
        title="Disk full soon",
        condition="a worker's room is used up within {threshold} days at its growth of the last days",
        does="Places new copies where more room is free.",
        hint="Add room or another worker before then.",
        evaluates=True,
        opens_after=HOUR,
        closes_after=6 * HOUR,
        threshold=30,
        max_threshold=365,
        unit="days",
    ),
    Rule(
        kind="worker.engine_hung",
        title="Engine hung",
        condition="an engine of a worker answers nothing",
        what="An engine of the worker answered nothing for too long.",
        kept="What is stored stays; its other engines go on.",
        does="The worker ends the engine and starts it again.",
        hint="Its log has the place where it hung. A disk that fails or is very slow does this, too.",
    ),
    Rule(
        kind="worker.two_machines",
        title="Two machines as one worker",
        condition="two machines with one worker's key report in turn",
        what="The directory of a worker was copied, and both machines run.",
        kept="What each of them has stored stays there.",
        does="Takes them for one worker: each gets a part of its orders, and their reports overwrite each "
        "other.",
        hint="Stop one of them. To keep both, empty its data directory and join it with a token of its own.",
        quiet=HOUR // 2,
    ),
    Rule(
        kind="worker.unknown",
        title="Messages of strangers",
        condition="messages came from a worker that never joined this farm",
        what="Messages on the broker were signed by no worker of this farm.",
        does="Drops them.",
        hint="A worker of another farm or one that was deleted; else change the broker's password.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="source.failing",
        title="Source fails",
        condition="{threshold} or more readings of a source in a row failed",
        kept="Its keys stay as they are.",
        does="Reads it again at its interval.",
        hint="See whether its address still answers, and with a list.",
        evaluates=True,
        threshold=3,
        max_threshold=10_000,
        unit="readings",
    ),
    Rule(
        kind="source.held",
        title="Removals held",
        condition="a source shrank so much that its removals wait for a person",
        what="A list has far fewer keys than before.",
        kept="All of its keys stay until a person accepts.",
        does="Nothing until a person decides, or the keys come back.",
        hint="If the list is as it should be, accept the removals; else mend the list.",
    ),
    Rule(
        kind="client.refused",
        title="No room for an app's cores",
        condition="a blind peer keeps cores of an app that the farm does not register, for want of room",
        kept="Their blind peer keeps and serves them.",
        does="Makes no further copies of these cores, and asks for no proofs of them.",
        hint="If you know the app, raise SEEDERFARM_BLIND_PEER_CLIENT_CORES; else say who may ask, or how "
        "much one app may keep: `worker apps WORKER`.",
        evaluates=True,
        closes_after=HOUR,
    ),
    Rule(
        kind="broker.refused",
        title="Broker refused a worker",
        condition="the broker refused what a worker wanted to do",
        what="An account tried what it may not.",
        does="The broker refuses each attempt.",
        hint="Its login may have been stolen: retire it, and enrol it anew on a machine that you trust.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="broker.logins",
        title="Wrong logins at the broker",
        condition="the broker refused logins of workers",
        what="Logins with wrong passwords came to the broker.",
        does="The broker refuses each attempt.",
        hint="Retired workers that still run, a broker that was restarted, or someone guessing passwords.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="broker.accounts",
        title="Accounts of the broker",
        condition="the broker does not let the farm keep its accounts",
        does="Tries again at each check.",
        hint="Let the login of REDIS_URL use ACL, or set SEEDERFARM_BROKER_ACCOUNTS=off and enrol anew.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="broker.budget",
        title="Too much on the broker",
        condition="an account keeps more on the broker than it may",
        does="Deletes what is too much, and suspends the account for some minutes.",
        hint="No worker does that by itself: its login may have been stolen.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="broker.busy",
        title="Broker busy",
        condition="checks of the broker take too long",
        does="Checks it less often.",
        hint="See what keeps the broker busy.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="broker.memory",
        title="Broker full",
        condition="the broker uses most of the memory that it may",
        does="Deletes messages that no process will read.",
        hint="Raise maxmemory, or look for what fills it.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="control.stalled",
        title="Control stalled",
        condition="control takes no messages for a minute, while some wait and its threads are idle",
        does="Connects to the broker anew; control ends and is started again if that does not help.",
        hint="If it opens again, report it with the log of control.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="control.refused",
        title="Remote control refused",
        condition="a client of the broker sent commands to control",
        does="Refuses each.",
        hint="A client that may publish on the broker tried to stop the farm: change the broker's password.",
        quiet=6 * HOUR,
    ),
    Rule(
        kind="control.rejected",
        title="Messages dropped",
        condition="messages came that no worker of this farm sends",
        does="Drops them.",
        hint="Retire the worker whose disk or token was stolen: its refused messages show which.",
        quiet=6 * HOUR,
    ),
)

RULES: Final[Mapping[str, Rule]] = {rule.kind: rule for rule in _RULES}
"""By kind, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A rule as it is set."""

    rule: Rule
    enabled: bool
    opens_after: int
    closes_after: int
    threshold: int
    all_channels: bool
    channels: frozenset[int]
    """Primary keys of its channels, unless `all_channels`."""

    @property
    def condition(self) -> str:
        """When there is an alert, with the threshold."""
        return self.rule.condition.format(threshold=self.threshold)

    @property
    def limits(self) -> str:
        """`1 to 365 days`; empty without a threshold."""
        if self.rule.threshold is None:
            return ""
        return f"{self.rule.min_threshold} to {self.rule.max_threshold:,} {self.rule.unit}"


def default_setting(rule: Rule) -> Setting:
    """Return how a rule is set before a person changes it."""
    return Setting(rule, True, rule.opens_after, rule.closes_after, rule.threshold or 0, True, frozenset())
