"""Records, protocols and rules that every other room uses, without files, clock or network.

In: texts, dates and numbers. Out: frozen records, paper ids, due dates, signed tokens.

Begin with `records` (what passes between the stages) and `protocols` (what a source, an encoder, a
scorer, a mailer, a clock and a model store must do).
"""
