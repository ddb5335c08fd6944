"""Statistics of fdsnws-dataselect: payloads received, and statistics returned."""
