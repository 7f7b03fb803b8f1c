"""The asyncio shell: sockets, timers and tasks. It holds no rule of the protocol."""
