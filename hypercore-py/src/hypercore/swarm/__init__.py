"""Which peers to connect to: policy without sockets, clocks or tasks.

Source of the rules: hyperswarm 4.17.2. The asyncio shell is `hypercore.aio.swarm.swarm`.
"""

from .peer_info import PeerInfo, Priority
from .policy import Arrival, SwarmPolicy, keep_incoming
from .slots import Slots
from .topics import Action, Topic, TopicSchedule

__all__ = [
    "Action",
    "Arrival",
    "PeerInfo",
    "Priority",
    "Slots",
    "SwarmPolicy",
    "Topic",
    "TopicSchedule",
    "keep_incoming",
]
