"""Actions on the registry. Each is one transaction, safe to repeat, and in the audit log.

`keys` adds; `drives` pauses, resumes, removes and changes numbers of copies; `proofs` asks for proofs;
`workers` approves, drains, retires; `tokens` makes and checks secrets; `log` records. An `Actor` is a user or
a name: `cli`, `farm`, `source NAME`.
"""

from __future__ import annotations

from .copies import last_copies_on
from .drives import (
    Guarded,
    RemoveResult,
    expire,
    finish_removals,
    follow_forks,
    forks_decided,
    mark_dirty,
    pause,
    remove,
    resume,
    set_priority,
    set_replicas,
)
from .keys import AddResult, Listed, Malformed, add_keys, add_listed
from .log import Actor, record_audit, record_event
from .proofs import ProofRequest, reverify
from .tokens import (
    find_api_token,
    issue_api_token,
    issue_enrolment,
    revoke_api_token,
    revoke_enrolment,
    use_enrolment,
)
from .workers import (
    activate,
    delete_retired,
    drain,
    retire,
    retirement_of,
    set_blind_peer,
    set_paused,
    workers_edited,
)

__all__ = [
    "Actor",
    "AddResult",
    "Guarded",
    "Listed",
    "Malformed",
    "ProofRequest",
    "RemoveResult",
    "activate",
    "add_keys",
    "add_listed",
    "delete_retired",
    "drain",
    "expire",
    "find_api_token",
    "finish_removals",
    "follow_forks",
    "forks_decided",
    "issue_api_token",
    "issue_enrolment",
    "last_copies_on",
    "mark_dirty",
    "pause",
    "record_audit",
    "record_event",
    "remove",
    "resume",
    "retire",
    "retirement_of",
    "reverify",
    "revoke_api_token",
    "revoke_enrolment",
    "set_blind_peer",
    "set_paused",
    "set_priority",
    "set_replicas",
    "use_enrolment",
    "workers_edited",
]
