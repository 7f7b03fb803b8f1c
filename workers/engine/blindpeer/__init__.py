"""A blind peer: keeps the cores that apps name (see `hypercore.blindpeer`), in the engine's store.

records      what is known of each core: who named it, its priority, its group; durable in the store
official     records of an official blind peer, to take them over
decisions    which cores of a message are recorded and replicated
rates        how often clients may ask, and who asks most
collection   which cores make room when the store is full
slices       long tasks in turns
collector    deletes content, to make room or because a client asks for it
client       one connection: its channels
kept         the cores that are open because clients need them
blind_peer   all of it
"""
