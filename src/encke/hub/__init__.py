"""The hub: who gets what is sent. Pure, never waits; commands in, events out (`hub`).

In reading order: `map` (who is where), `publications` (what waits for its subscribers), `limits`
and `pace` (how much at once, and how fast to very many), `delivery` (what goes to a gateway), `hub`
(all of it together).
"""
