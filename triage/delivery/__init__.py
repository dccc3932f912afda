"""From the outbox to the mail server, once and only once, and what comes back.

In: messages that wait in the outbox; returned mail. Out: sent mail, the state of every message,
the sent log, suppressed addresses.

Begin with `outbox` (one drain) and `hand_over` (one message). `recovery` handles messages whose
sender died. `bounces/` reads reports and decides when an address is suppressed. `audit` proves
that every digest that was due is accounted for.
"""
