"""The variables that peers and workers read (`table`), and how their texts are read. Needs no Django."""
