"""The stream of changes: events, and drives that passed from one state into another.

`stable` finds up to where nothing can appear any more, `rows` reads, `feed` shares what is read among the
streams of a process, `operation` answers.
"""
