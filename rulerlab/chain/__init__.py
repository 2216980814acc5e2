"""The spring-block chain: a wall, blocks with dry friction joined by springs, a hand that pulls.

`model` states the chain, `drive` what the hand does, `simulate` moves it, `rest` knows where it
comes to rest in closed form, `phase` maps its regimes, `events` lists its slips, and `ruler` is
the rigid folding ruler.
"""
