"""A plan carried out on a clone, with a real QuestDB started on the result, before it is carried out for good.

`rehearsing.rehearse` is the way in; `gate.rehearsed` keeps what passed, which the policy and plans read.
"""
