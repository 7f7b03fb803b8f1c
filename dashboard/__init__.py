"""The farm's pages for people: server-rendered, readable without JavaScript.

`pages` has the views, `live` the stream of changes, `reads` what both load and how it is shown. They call
queries and services of `seederfarm.registry` only.
"""
