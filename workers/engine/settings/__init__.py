"""Input of the engine: options, lists of keys, identity, known DHT nodes."""
