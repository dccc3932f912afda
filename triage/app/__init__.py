"""Creates all objects of the program from its settings.

Only this room knows which class implements an interface of `domain/protocols.py`.

In: the settings. Out: the objects that `cli` and `web` use, each created at its first use.

Begin with `application`. `live_sources` creates the sources that are switched on, and
`account_mail` builds confirmations and login links.
"""
