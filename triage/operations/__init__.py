"""What the operator runs: the schedule, the doctor, the report, back-ups.

In: the state of the installation. Out: finished jobs, findings, one HTML report, back-up files.

Begin with `jobs` (what is due at this minute) and `doctor` (what is wrong and how to mend it).
"""
