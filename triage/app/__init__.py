"""Creates every object of an installation from its settings.

No other room knows which class stands behind a port.

In: the settings. Out: the objects that `cli` and `web` use, each made when it is first needed.

Begin with `application`. `live_sources` makes the sources that are switched on.
"""
