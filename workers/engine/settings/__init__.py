"""What the engine is given: options, lists of keys, identity, known DHT nodes."""
