"""Numbers of an engine for its worker's metrics, by the names that the official packages give them.

Names and meanings are those of hypercore-stats 2.5, hyperswarm-stats 1.3 and hyperdht-stats 1.9. Numbers that
cost something for each block or packet are left out.
"""

from __future__ import annotations

from collections import Counter

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.swarm.swarm import Swarm

Numbers = dict[str, int]


def reach_of(swarm: Swarm) -> dict[str, object]:
    """Return how peers reach a running engine, by the names of `farmwire.report.Reach`."""
    node, ways = swarm.node, Counter(connection.way for connection in swarm.connections)
    nat = node.core.nat
    return {
        "id": swarm.public_key.hex(),
        "online": swarm.online,
        "nat": node.profile().firewall.name.lower(),
        "address": f"{nat.host}:{nat.port}" if nat.host and nat.port else nat.host or "",
        "seen_by": len(nat),
        "seen_same": nat.agreeing,
        "direct": ways["direct"],
        "punched": ways["punched"],
        "relayed": ways["relayed"],
    }


def network_numbers(swarm: Swarm, cores: Corestore) -> Numbers:
    """The numbers of a running engine. Looks at each DHT node of the routing table once."""
    node, counts = swarm.node, swarm.counts
    rpc, endpoint = node.core.rpc, node.endpoint
    traffic = endpoint.traffic
    return {
        "hypercore_total_cores": cores.open_cores,
        "hypercore_total_peers": cores.links,
        "hyperswarm_nr_peers": len(swarm.connections),
        "hyperswarm_client_connections_attempted": counts.client_attempted,
        "hyperswarm_client_connections_opened": counts.client_opened,
        "hyperswarm_client_connections_closed": counts.client_closed,
        "hyperswarm_server_connections_opened": counts.server_opened,
        "hyperswarm_server_connections_closed": counts.server_closed,
        "dht_active_requests": rpc.in_flight,
        "dht_total_requests": rpc.requests,
        "dht_total_queries": node.core.queries,
        "dht_nr_nodes": len(node.core.table),
        "dht_nr_unique_node_ips": len({known.address.host for known in node.core.table}),
        "dht_is_firewalled": int(node.firewalled),
        "dht_streams": endpoint.streams,
        "udx_total_bytes_transmitted": traffic.bytes_sent,
        "udx_total_packets_transmitted": traffic.packets_sent,
        "udx_total_bytes_received": endpoint.bytes_received,
        "udx_total_packets_received": traffic.packets_received,
        "udx_packets_dropped_total": sum(socket.rx_dropped() for socket in endpoint.sockets),
    }
