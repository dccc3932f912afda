"""The operator's tools: the daily jobs, the doctor, the report and back-ups.

In: the state of the installation. Out: finished jobs, findings, one HTML report, back-up files.

Begin with `jobs` (which jobs are due now) and `doctor` (what is wrong and how to fix it).
"""
