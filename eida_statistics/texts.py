"""External text, made safe for display."""


def printable(text: str) -> str:
    """Return a text on one line, with a replacement for each character that a terminal would act on."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
