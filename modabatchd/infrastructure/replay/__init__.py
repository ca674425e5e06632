"""
A recorded log of jobs, run again under a policy: what it would have cost, and how long people would have waited.

The decisions are those of the shipped planner; only the cluster that they are carried out on is a simulated one.
"""
