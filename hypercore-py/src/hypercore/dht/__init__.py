"""The distributed hash table: finding peers by topic and by key, and reaching them through NATs.

Formats and rules: dht-rpc 6.27.0, hyperdht 6.34.0. No module touches a socket or a clock; the asyncio shell
is `hypercore.aio.dht.node`.
"""
