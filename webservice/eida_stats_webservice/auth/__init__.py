"""Authentication: nodes, members of groups, operators of networks."""
