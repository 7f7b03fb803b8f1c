"""Where keys come from by themselves: lists that are read again and again, and followed.

`fetch` gets the bytes, `parse` (pure) makes keys of them, `poll` decides who reads what when and takes the
difference into the registry. An answer that is broken, empty or unreadable never changes what is kept.
"""
