"""Where keys come from by themselves: lists that are read again and again, and followed.

`fetch` gets bytes, `lists` follows seed-list Hyperbees over the swarm; `parse` and `seedlist` (both pure)
make keys of them; `reading` decides who reads what when; `taking` takes the difference into the registry;
`follow` does all of it for as long as it is let, `once` once. An answer that is broken, empty or unreadable
never changes what is kept.
"""
