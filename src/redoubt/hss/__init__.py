"""The home subscriber server with its authentication centre (TS 23.002 4.1.1, TS 29.228, TS 33.102).

Entry points: `hss.Hss` answers Cx, `opening.opened` opens the store (SQLite or PostgreSQL), `keys` holds the key file,
`provisioning` is what the `redoubt subscriber` command needs.
"""
