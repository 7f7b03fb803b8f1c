"""The farm's pages for people: server-rendered, readable without JavaScript.

`pages` has the views, `reads` what they load and how it is shown. Both call queries and services of
`seederfarm.registry` only.
"""
