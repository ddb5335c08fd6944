"""Holdings: the bytes that the nodes' archives hold, next to those that dataselect has served."""
