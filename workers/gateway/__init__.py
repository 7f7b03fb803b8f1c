"""The process that reads files of drives for the pages: from engines on this machine, else from the swarm."""
