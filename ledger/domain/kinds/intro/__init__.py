"""Intro: a connector introduces an asker to a target, or, unasked, two members to each other (matchmaking).

`asked -> accepted -> consented -> made -> met -> closed`, or `offered -> consented -> made -> ...`.
Side exits: `declined`, `refused`, `withdrawn`, `expired`. In an offer, `asker` and `target` are the two members.
"""
