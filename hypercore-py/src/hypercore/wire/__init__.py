"""The messages of a replication channel (`hypercore/alpha`), one module per family.

Format of all of them: holepunchto/hypercore lib/messages.js (11.37.1). A frame is written once for writing
and once for reading; trailing bytes that a newer peer appends are ignored.
"""
