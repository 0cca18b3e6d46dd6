"""Intro: a connector introduces an asker to a target, or two members who did not ask (an offered intro).

`asked -> accepted -> consented -> made -> met -> closed`, or `offered -> consented -> made -> ...`. An intro can also
end as `declined`, `refused`, `withdrawn` or `expired`. In an offered intro, `asker` and `target` are the two members.
"""
